/* rules.c: which operations each fusion may join, and where to.  Pure functions over a graph. */
#include "rules.h"

#include <stdio.h>

const hy__rule_info hy__rules[HY__N_RULES] = {
#define HY_RULE(name, lower, text) [HY__RULE_##name] = {#lower, text},
#include "rules.inc"
#undef HY_RULE
};

const char *const hy__phase_kinds[] = {"embed", "matmul", "wkv7", "attention", "map"};

static uint32_t rules_named(const char *name, size_t len)
{
    uint32_t set = 0;
    for (uint32_t r = 0; r < HY__N_RULES; r++) {
        const char *rule = hy__rules[r].name;
        if ((strlen(rule) == len && memcmp(rule, name, len) == 0) ||
            (len == 3 && memcmp(name, "all", 3) == 0)) {
            set |= 1u << r;
        }
    }
    return set;
}

hy_status hy__rules_without(const char *names, uint32_t *rules, hy_error *err)
{
    uint32_t off = 0;
    for (const char *at = names ? names : ""; *at;) {
        const size_t len = strcspn(at, ",");
        const uint32_t set = rules_named(at, len);
        if (set == 0) {
            char known[200] = "all";
            for (uint32_t r = 0; r < HY__N_RULES; r++) {
                const size_t n = strlen(known);
                snprintf(known + n, sizeof known - n, ", %s", hy__rules[r].name);
            }
            return hy__fail(err, HY_E_NOT_FOUND, "there is no fusion \"%.*s\"; these are: %s",
                            (int)HY_MIN(len, (size_t)60), at, known);
        }
        off |= set;
        at += len + (at[len] == ',');
    }
    *rules = HY__ALL_RULES & ~off;
    return HY_OK;
}

bool hy__anchor_kind(hy__opcode op, hy__phase_kind *kind)
{
    switch (op) {
    case HY__OP_EMBED:
        *kind = HY__PHASE_EMBED;
        return true;
    case HY__OP_MATMUL:
        *kind = HY__PHASE_MATMUL;
        return true;
    case HY__OP_WKV7:
        *kind = HY__PHASE_WKV7;
        return true;
    case HY__OP_ATTENTION:
        *kind = HY__PHASE_ATTENTION;
        return true;
    default:
        return false;
    }
}

static bool whole_column(const hy__graph *g, const hy__node *node)
{
    const uint32_t group = node->params.group;
    return group == 0 || group == g->values[node->out].n;
}

/* The operation that computes a value, HY__N_OPS if none does. */
static hy__opcode producer(const hy__graph *g, const uint32_t *made_by, hy__id id)
{
    return g->values[id].kind == HY__RESULT ? g->nodes[made_by[id]].op : HY__N_OPS;
}

hy__fate hy__rule_for(const hy__graph *g, const uint32_t *made_by, uint32_t index)
{
    const hy__node *node = &g->nodes[index];
    const uint32_t before_matrices = 1u << HY__PHASE_MATMUL;
    const uint32_t before_heads = 1u << HY__PHASE_WKV7 | 1u << HY__PHASE_ATTENTION;
    switch (node->op) {
    case HY__OP_LAYER_NORM:
    case HY__OP_RMS_NORM:
        if (!whole_column(g, node)) {
            return (hy__fate){HY__RULE_HEAD_BEFORE, 0, before_heads};
        }
        if (producer(g, made_by, node->in[0]) == HY__OP_EMBED) {
            return (hy__fate){HY__RULE_EMBED, 1u << HY__PHASE_EMBED, before_matrices};
        }
        return (hy__fate){HY__RULE_NORM, 0, before_matrices};
    case HY__OP_TOKEN_SHIFT:
        return (hy__fate){HY__RULE_SHIFT, 0, before_matrices};
    case HY__OP_L2_NORM:
    case HY__OP_ROPE:
        return (hy__fate){HY__RULE_HEAD_BEFORE, 0, before_heads};
    case HY__OP_GROUP_NORM:
    case HY__OP_RWKV7_BONUS:
        return (hy__fate){HY__RULE_HEAD_AFTER, 1u << HY__PHASE_WKV7, 0};
    case HY__OP_SELECT:
        return (hy__fate){HY__RULE_SELECT, 0, before_matrices};
    case HY__OP_LERP:
        if (producer(g, made_by, node->in[1]) == HY__OP_TOKEN_SHIFT) {
            return (hy__fate){HY__RULE_SHIFT, 0, before_matrices};
        }
        break;
    default:
        break;
    }
    const uint32_t behind_any =
        1u << HY__PHASE_MATMUL | 1u << HY__PHASE_WKV7 | 1u << HY__PHASE_ATTENTION;
    return (hy__fate){HY__RULE_ELEMENTS, behind_any, 0};
}
