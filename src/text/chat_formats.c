/* chat_formats.c: the chat formats that are known, as one table, and how a template is recognised.
 *
 * Everything here is constant and may be used from any thread.  To add a format, add a row to
 * `formats` and, if model files bring a template of their own for it, one to `rules`. */
#include "text/chat.h"

/* One piece per role, in the order system, user, assistant. */
#define OPEN(system, user, assistant) .open = {system, user, assistant}
#define CLOSE(system, user, assistant) .close = {system, user, assistant}
/* The formats that write the role's own name between two markers, and close every turn alike. */
#define NAMED(before, after, end)                                                                  \
    OPEN(before "system" after, before "user" after, before "assistant" after), CLOSE(end, end, end)
#define NAMED_PROMPT(before, after, end)                                                           \
    NAMED(before, after, end), .prompt = before "assistant" after

static const hy_chat_format formats[] = {
    {.name = "chatml", NAMED_PROMPT("<|im_start|>", "\n", "<|im_end|>\n")},
    {.name = "llama3",
     NAMED_PROMPT("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "qwen2",
     NAMED_PROMPT("<|im_start|>", "\n", "<|im_end|>\n"),
     .default_system = "You are a helpful assistant."},
    {.name = "qwen2.5",
     NAMED_PROMPT("<|im_start|>", "\n", "<|im_end|>\n"),
     .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.name = "qwen3",
     NAMED_PROMPT("<|im_start|>", "\n", "<|im_end|>\n"),
     .flags = HY__CHAT_DROP_THINK | HY__CHAT_DROP_THINK_NEWLINES},
    {.name = "smollm",
     NAMED_PROMPT("<|im_start|>", "\n", "<|im_end|>\n"),
     .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {.name = "rwkv-world",
     OPEN("System: ", "User: ", "Assistant: "),
     CLOSE("\n\n", "\n\n", "\n\n"),
     .prompt = "Assistant:",
     .stop = {"\n\nUser:", "\n\nSystem:", "\n\nAssistant:"},
     .flags = HY__CHAT_CLEAN | HY__CHAT_DROP_THINK},
    {.name = "gemma",
     OPEN("", "<start_of_turn>user\n", "<start_of_turn>model\n"),
     CLOSE("", "<end_of_turn>\n", "<end_of_turn>\n"),
     .prompt = "<start_of_turn>model\n",
     .flags = HY__CHAT_MERGE_SYSTEM | HY__CHAT_TRIM_ALL},
    {.name = "llama2", /* knows no system text: it is put before the user's */
     .turn = "[INST] ",
     .next_turn = "[INST] ",
     OPEN("", "", ""),
     CLOSE("\n", " [/INST]", "</s>")},
    {.name = "llama2-sys",
     .turn = "[INST] ",
     .next_turn = "[INST] ",
     OPEN("<<SYS>>\n", "", ""),
     CLOSE("\n<</SYS>>\n\n", " [/INST]", "</s>")},
    {.name = "llama2-sys-bos",
     .turn = "[INST] ",
     .next_turn = "<s>[INST] ",
     OPEN("<<SYS>>\n", "", ""),
     CLOSE("\n<</SYS>>\n\n", " [/INST]", "</s>")},
    {.name = "llama2-sys-strip",
     .turn = "[INST] ",
     .next_turn = "[INST] ",
     OPEN("<<SYS>>\n", "", ""),
     CLOSE("\n<</SYS>>\n\n", " [/INST]", "</s>"),
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "mistral-v1",
     .turn = " [INST] ",
     .next_turn = " [INST] ",
     OPEN("", "", " "),
     CLOSE("\n\n", " [/INST]", "</s>")},
    {.name = "mistral-v3",
     .turn = "[INST] ",
     .next_turn = "[INST] ",
     OPEN("", "", " "),
     CLOSE("\n\n", "[/INST]", "</s>"),
     .flags = HY__CHAT_TRIM_ASSISTANT},
    {.name = "mistral-v3-tekken",
     .turn = "[INST]",
     .next_turn = "[INST]",
     OPEN("", "", ""),
     CLOSE("\n\n", "[/INST]", "</s>")},
    {.name = "mistral-v7",
     OPEN("[SYSTEM_PROMPT] ", "[INST] ", " "),
     CLOSE("[/SYSTEM_PROMPT]", "[/INST]", "</s>")},
    {.name = "mistral-v7-tekken",
     OPEN("[SYSTEM_PROMPT]", "[INST]", ""),
     CLOSE("[/SYSTEM_PROMPT]", "[/INST]", "</s>")},
    {.name = "phi3", NAMED_PROMPT("<|", "|>\n", "<|end|>\n")},
    {.name = "phi4", NAMED_PROMPT("<|im_start|>", "<|im_sep|>", "<|im_end|>")},
    {.name = "falcon3", NAMED_PROMPT("<|", "|>\n", "\n")},
    {.name = "zephyr", NAMED_PROMPT("<|", "|>\n", "<|endoftext|>\n")},
    {.name = "zephyr-beta", NAMED_PROMPT("<|", "|>\n", "</s>\n")}, /* TinyLlama's too */
    {.name = "monarch", NAMED_PROMPT("<s>", "\n", "</s>\n"), .flags = HY__CHAT_FIRST_WITHOUT_BOS},
    {.name = "orion",
     OPEN("", "Human: ", ""),
     CLOSE("", "\n\nAssistant: </s>", "</s>"),
     .flags = HY__CHAT_MERGE_SYSTEM},
    {.name = "openchat",
     OPEN("", "GPT4 Correct User: ", "GPT4 Correct Assistant: "),
     CLOSE("<|end_of_turn|>", "<|end_of_turn|>", "<|end_of_turn|>"),
     .prompt = "GPT4 Correct Assistant:"},
    {.name = "vicuna",
     OPEN("", "USER: ", "ASSISTANT: "),
     CLOSE("\n\n", "\n", "</s>\n"),
     .prompt = "ASSISTANT:",
     .stop = {"\nUSER:"}},
    {.name = "vicuna-orca",
     OPEN("SYSTEM: ", "USER: ", "ASSISTANT: "),
     CLOSE("\n", "\n", "</s>\n"),
     .prompt = "ASSISTANT:",
     .stop = {"\nUSER:"}},
    {.name = "deepseek",
     OPEN("", "### Instruction:\n", "### Response:\n"),
     CLOSE("", "\n", "\n<|EOT|>\n"),
     .prompt = "### Response:\n",
     .stop = {"\n### Instruction:"}},
    {.name = "deepseek2",
     OPEN("", "User: ", "Assistant: "),
     CLOSE("\n\n", "\n\n", "<｜end▁of▁sentence｜>"),
     .prompt = "Assistant:",
     .stop = {"\n\nUser:"}},
    {.name = "deepseek3",
     OPEN("", "<｜User｜>", "<｜Assistant｜>"),
     CLOSE("\n\n", "", "<｜end▁of▁sentence｜>"),
     .prompt = "<｜Assistant｜>",
     .flags = HY__CHAT_DROP_THINK},
    {.name = "deepseek-ocr", OPEN("", "", ""), CLOSE("", "", "")},
    {.name = "command-r",
     OPEN("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
          "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"),
     CLOSE("<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
     .prompt = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "chatglm3",
     .start = "[gMASK]sop",
     NAMED("<|", "|>\n ", ""),
     .prompt = "<|assistant|>"},
    {.name = "chatglm4", .start = "[gMASK]<sop>", NAMED_PROMPT("<|", "|>\n", "")},
    {.name = "glmedge", NAMED("<|", "|>\n", ""), .prompt = "<|assistant|>"},
    {.name = "minicpm", OPEN("", "<用户>", ""), CLOSE("", "<AI>", ""), .flags = HY__CHAT_TRIM_ALL},
    {.name = "exaone3",
     OPEN("[|system|]", "[|user|]", "[|assistant|]"),
     CLOSE("[|endofturn|]\n", "\n", "[|endofturn|]\n"),
     .prompt = "[|assistant|]",
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "exaone4",
     OPEN("[|system|]", "[|user|]", "[|assistant|]"),
     CLOSE("[|endofturn|]\n", "\n", "[|endofturn|]\n"),
     .prompt = "[|assistant|]",
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "exaone-moe",
     NAMED_PROMPT("<|", "|>\n", "<|endofturn|>\n"),
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "granite", NAMED_PROMPT("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n")},
    {.name = "granite-4.0",
     NAMED_PROMPT("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n")},
    {.name = "granite-4.1",
     NAMED_PROMPT("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n")},
    {.name = "gigachat",
     .start = "<s>",
     OPEN("", "user<|role_sep|>", "assistant<|role_sep|>"),
     CLOSE("<|message_sep|>", "<|message_sep|>available functions<|role_sep|>[]<|message_sep|>",
           "<|message_sep|>"),
     .prompt = "assistant<|role_sep|>"},
    {.name = "megrez", NAMED_PROMPT("<|role_start|>", "<|role_end|>", "<|turn_end|>")},
    {.name = "yandex", /* no system role at all */
     OPEN(NULL, " Пользователь: ", " Ассистент: "),
     CLOSE(NULL, "\n\n", "\n\n"),
     .prompt = " Ассистент:[SEP]"},
    {.name = "bailing",
     OPEN("<role>SYSTEM</role>", "<role>HUMAN</role>", "<role>ASSISTANT</role>"),
     CLOSE("", "", ""),
     .prompt = "<role>ASSISTANT</role>"},
    {.name = "bailing-think",
     OPEN("<role>SYSTEM</role>", "<role>HUMAN</role>", "<role>ASSISTANT</role>"),
     CLOSE("", "", ""),
     .prompt = "<role>ASSISTANT</role><think>"},
    {.name = "bailing2",
     OPEN("<role>SYSTEM</role>", "<role>HUMAN</role>", "<role>ASSISTANT</role>"),
     CLOSE("<|role_end|>", "<|role_end|>", "<|role_end|>"),
     .prompt = "<role>ASSISTANT</role>",
     .default_system = "detailed thinking off"},
    {.name = "llama4",
     NAMED_PROMPT("<|header_start|>", "<|header_end|>\n\n", "<|eot|>"),
     .flags = HY__CHAT_TRIM_ALL},
    {.name = "smolvlm",
     .start = "<|im_start|>",
     OPEN("", "User: ", "Assistant: "),
     CLOSE("\n\n", "<end_of_utterance>\n", "<end_of_utterance>\n"),
     .prompt = "Assistant:"},
    {.name = "dots1",
     OPEN("<|system|>", "<|userprompt|>", "<|response|>"),
     CLOSE("<|endofsystem|>", "<|endofuserprompt|>", "<|endofresponse|>"),
     .prompt = "<|response|>"},
    {.name = "hunyuan-moe",
     OPEN("<|startoftext|>", "<|startoftext|>", ""),
     CLOSE("<|extra_4|>", "<|extra_0|>", "<|eos|>")},
    {.name = "gpt-oss",
     OPEN("<|start|>system<|message|>", "<|start|>user<|message|>",
          "<|start|>assistant<|message|>"),
     CLOSE("<|end|>", "<|end|>", "<|return|>"),
     .prompt = "<|start|>assistant"},
    {.name = "kimi-k2",
     OPEN("<|im_system|>system<|im_middle|>", "<|im_user|>user<|im_middle|>",
          "<|im_assistant|>assistant<|im_middle|>"),
     CLOSE("<|im_end|>", "<|im_end|>", "<|im_end|>"),
     .prompt = "<|im_assistant|>assistant<|im_middle|>"},
    {.name = "seed_oss",
     NAMED_PROMPT("<seed:bos>", "\n", "<seed:eos>"),
     .flags = HY__CHAT_TRIM_ASSISTANT},
    {.name = "grok-2",
     OPEN("System: ", "Human: ", "Assistant: "),
     CLOSE("<|separator|>\n\n", "<|separator|>\n\n", "<|separator|>\n\n"),
     .prompt = "Assistant:",
     .flags = HY__CHAT_TRIM_SYSTEM | HY__CHAT_TRIM_USER},
    {.name = "pangu-embedded",
     OPEN("[unused9]系统：", "[unused9]用户：", "[unused9]助手："),
     CLOSE("[unused10]", "[unused10]", "[unused10]"),
     .prompt = "[unused9]助手：",
     .default_system = ""},
    {.name = "solar-open",
     NAMED("<|begin|>", "<|content|>", "<|end|>"),
     .prompt = "<|begin|>assistant"},
};

/* A template belongs to the first rule all of whose texts it contains.  Many templates contain the
 * markers of another family too, so the order is part of the knowledge.  `model`: only with this
 * tokenizer (NULL: any). */
typedef struct rule {
    const char *format;
    const char *model;
    const char *texts[4];
} rule;

static const rule rules[] = {
    /* RWKV's markers are ordinary words: look for them only where the vocabulary is RWKV's. */
    {"rwkv-world", "rwkv", {"User: ", "Assistant:"}},
    {"phi4", NULL, {"<|im_start|>", "<|im_sep|>"}},
    {"smolvlm", NULL, {"<|im_start|>", "<end_of_utterance>"}},
    {"qwen2.5", NULL, {"<|im_start|>", "You are Qwen, created by Alibaba Cloud"}},
    {"qwen3", NULL, {"<|im_start|>", "</think>"}},
    {"smollm", NULL, {"<|im_start|>", "You are a helpful AI assistant named SmolLM"}},
    {"qwen2", NULL, {"<|im_start|>system\\nYou are a helpful assistant"}},
    {"qwen2", NULL, {"<|im_start|>system\nYou are a helpful assistant"}},
    {"chatml", NULL, {"<|im_start|>"}},
    /* Tekken vocabularies have no blank after a marker. */
    {"mistral-v7-tekken", NULL, {"[INST]", "[SYSTEM_PROMPT]'"}},
    {"mistral-v7-tekken", NULL, {"[INST]", "[SYSTEM_PROMPT]\""}},
    {"mistral-v7", NULL, {"[INST]", "[SYSTEM_PROMPT]"}},
    {"mistral-v1", NULL, {"' [INST] ' + system_message"}},
    {"mistral-v1", NULL, {"[AVAILABLE_TOOLS]", " [INST]"}},
    {"mistral-v3-tekken", NULL, {"[AVAILABLE_TOOLS]", "\"[INST]\""}},
    {"mistral-v3", NULL, {"[AVAILABLE_TOOLS]", "[INST]"}},
    {"llama2-sys-strip", NULL, {"[INST]", "content.strip()"}},
    {"llama2-sys-bos", NULL, {"[INST]", "bos_token + '[INST]"}},
    {"llama2-sys", NULL, {"[INST]", "<<SYS>>"}},
    {"llama2", NULL, {"[INST]"}},
    {"phi3", NULL, {"<|assistant|>", "<|end|>"}},
    {"chatglm4", NULL, {"[gMASK]<sop>"}},
    {"exaone-moe", NULL, {"<|assistant|>", "<|user|>", "<|tool_declare|>"}},
    {"falcon3", NULL, {"<|assistant|>", "<|user|>", "</s>"}},
    /* The same template text for two vocabularies, which differ in the text of their end token. */
    {"zephyr-beta", "llama", {"<|assistant|>", "<|user|>", "message['content'] + eos_token }}"}},
    {"zephyr", "gpt2", {"<|assistant|>", "<|user|>", "message['content'] + eos_token }}"}},
    {"glmedge", NULL, {"<|assistant|>", "<|user|>"}},
    {"glmedge", NULL, {"<|{{ item['role'] }}|>", "<|begin_of_image|>"}},
    {"zephyr", NULL, {"<|user|>", "<|endoftext|>"}},
    {"monarch", NULL, {"bos_token + message['role']"}},
    {"gemma", NULL, {"<start_of_turn>"}},
    {"orion", NULL, {"'\\n\\nAssistant: ' + eos_token"}},
    {"openchat", NULL, {"GPT4 Correct "}},
    {"vicuna-orca", NULL, {"USER: ", "ASSISTANT: ", "SYSTEM: "}},
    {"vicuna", NULL, {"USER: ", "ASSISTANT: "}},
    {"deepseek", NULL, {"### Instruction:", "<|EOT|>"}},
    {"command-r", NULL, {"<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"}},
    {"llama3", NULL, {"<|start_header_id|>", "<|end_header_id|>"}},
    {"chatglm3", NULL, {"[gMASK]sop"}},
    {"minicpm", NULL, {"<用户>"}},
    {"deepseek2", NULL, {"'Assistant: ' + message['content'] + eos_token"}},
    {"deepseek3", NULL, {"<｜Assistant｜>", "<｜User｜>", "<｜end▁of▁sentence｜>"}},
    {"exaone4", NULL, {"[|system|]", "[|assistant|]", "[|endofturn|]", "[|tool|]"}},
    {"exaone3", NULL, {"[|system|]", "[|assistant|]", "[|endofturn|]"}},
    {"rwkv-world", NULL, {"rwkv-world"}},
    {"rwkv-world", NULL, {"{{- 'User: ' + message['content']|trim + '\\n\\n' -}}"}},
    {"granite-4.0", NULL, {"<|start_of_role|>", "<tool_call>", "g4_default_system_message"}},
    {"granite-4.0", NULL, {"<|start_of_role|>", "<tools>", "g4_default_system_message"}},
    {"granite-4.1", NULL, {"<|start_of_role|>", "<tool_call>"}},
    {"granite-4.1", NULL, {"<|start_of_role|>", "<tools>"}},
    {"granite", NULL, {"<|start_of_role|>"}},
    {"gigachat",
     NULL,
     {"message['role'] + additional_special_tokens[0] + message['content'] + "
      "additional_special_tokens[1]"}},
    {"megrez", NULL, {"<|role_start|>"}},
    {"yandex", NULL, {" Ассистент:"}},
    {"bailing", NULL, {"<role>ASSISTANT</role>", "'HUMAN'"}},
    {"bailing-think", NULL, {"<role>ASSISTANT</role>", "\"HUMAN\"", "<think>"}},
    {"bailing2", NULL, {"<role>ASSISTANT</role>", "<role>HUMAN</role>", "<|role_end|>"}},
    {"llama4", NULL, {"<|header_start|>", "<|header_end|>"}},
    {"dots1", NULL, {"<|endofuserprompt|>"}},
    {"hunyuan-moe", NULL, {"<|extra_0|>", "<|extra_4|>"}},
    {"gpt-oss", NULL, {"<|start|>", "<|channel|>"}},
    {"kimi-k2", NULL, {"<|im_assistant|>assistant<|im_middle|>"}},
    {"seed_oss", NULL, {"<seed:bos>"}},
    {"grok-2", NULL, {"'Assistant: '  + message['content'] + '<|separator|>"}},
    {"pangu-embedded", NULL, {"[unused9]系统：[unused10]"}},
    {"solar-open", NULL, {"<|begin|>", "<|end|>", "<|content|>"}},
};

const hy_chat_format *hy_chat_format_at(size_t i)
{
    return i < HY_COUNT(formats) ? &formats[i] : NULL;
}

const char *hy_chat_format_name(const hy_chat_format *f)
{
    return f->name;
}

static const hy_chat_format *find_name(const char *name, size_t len)
{
    for (size_t i = 0; i < HY_COUNT(formats); i++) {
        if (strlen(formats[i].name) == len && memcmp(formats[i].name, name, len) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

const hy_chat_format *hy_chat_format_by_name(const char *name)
{
    return name ? find_name(name, strlen(name)) : NULL;
}

const char *hy__find_bytes(const char *text, size_t len, const char *needle, size_t n)
{
    if (n == 0) {
        return text;
    }
    const char *end = text + len;
    while ((size_t)(end - text) >= n) {
        const char *p = memchr(text, needle[0], (size_t)(end - text) - n + 1);
        if (!p) {
            break;
        }
        if (memcmp(p, needle, n) == 0) {
            return p;
        }
        text = p + 1;
    }
    return NULL;
}

static bool rule_fits(const rule *r, const char *text, size_t len, const char *model)
{
    if (r->model && (!model || strcmp(r->model, model) != 0)) {
        return false;
    }
    for (size_t i = 0; i < HY_COUNT(r->texts) && r->texts[i]; i++) {
        if (!hy__find_bytes(text, len, r->texts[i], strlen(r->texts[i]))) {
            return false;
        }
    }
    return true;
}

const hy_chat_format *hy_chat_format_detect(const char *text, size_t len,
                                            const char *tokenizer_model)
{
    if (len == 0) {
        return NULL;
    }
    const hy_chat_format *f = find_name(text, len); /* some files store a name, no template */
    for (size_t i = 0; !f && i < HY_COUNT(rules); i++) {
        if (rule_fits(&rules[i], text, len, tokenizer_model)) {
            f = hy_chat_format_by_name(rules[i].format);
        }
    }
    return f;
}

hy_status hy_chat_format_of(const hy_gguf *g, const hy_tokenizer *t, const hy_chat_format **out,
                            hy_error *err)
{
    *out = NULL;
    hy_str text;
    const hy_status s = hy_gguf_get_str(g, "tokenizer.chat_template", &text, err);
    if (s == HY_E_NOT_FOUND) {
        return hy__fail(err, s,
                        "the file has no tokenizer.chat_template: name a format with "
                        "--chat-template NAME|FILE");
    }
    HY_TRY(s);
    *out = hy_chat_format_detect(text.data, text.len, t ? hy_tokenizer_model(t) : NULL);
    if (!*out) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "tokenizer.chat_template is of no known kind: name a format with "
                        "--chat-template NAME|FILE, NAME being %s, %s, %s, %s, %s, %s, %s, %s or "
                        "another of %zu",
                        formats[0].name, formats[1].name, formats[2].name, formats[3].name,
                        formats[4].name, formats[5].name, formats[6].name, formats[7].name,
                        HY_COUNT(formats));
    }
    return HY_OK;
}

const char *hy_chat_stop_text(const hy_chat_format *f, size_t i)
{
    return i < HY_COUNT(f->stop) ? f->stop[i] : NULL;
}

const char *hy_chat_turn_end(const hy_chat_format *f)
{
    return f->close[HY__CHAT_ASSISTANT];
}
