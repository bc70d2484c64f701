// sample.wgsl: from logits to the next token, on the GPU: the chain of src/session/sampler.c.
//
// The token that is drawn goes into the ring of tokens, and the step moves on by one position, so
// that the next step can be run behind this one with no word from the CPU.  See sample.h for the
// buffers.
//
// Entry points, each of 256 lanes.  Greedy: greedy_part by `groups` workgroups, then greedy_end by
// one. Otherwise: make_keys and find_best by `groups` workgroups, then draw by one.
//
// There is no floating point in here.  The CPU's chain works on doubles; logits, bias and penalties
// are the same doubles here, put together from 32-bit integers, so that the order of the candidates
// is the same in every case, ties included. Weights exp(...) are fixed-point numbers with a
// relative error below 2^-30, their sums are exact: a draw differs from the CPU's only where the
// random number is that near to a boundary between two tokens.  And it is the same draw on every
// GPU: compilers may reorder floats, but not integers.
//
// 64-bit integers are vec2<u32>, low word first.

struct Step {
    n_tokens: u32,
    n_outputs: u32,
    pos: u32,    // of the step's first token
    failure: u32,
}

struct Params {
    n_vocab: u32,
    groups: u32,     // workgroups that share the vocabulary
    lists: u32,      // parts of a workgroup's share that tell their maximum, 1 to 256, a power of 2
    k: u32,          // candidates that top_k leaves, 1 to 1024
    mask_words: u32, // of each of the two sets of tokens at the beginning of `tables`
    n_bias: u32,
    last_n: u32,     // tokens that penalties look at; 0: no penalties
    stages: u32,     // USE_*
    repeat: Real,
    frequency: Real,
    presence: Real,
    log_min_p: Real,
    plain: Factor,      // log2(e)
    tempered: Factor,   // log2(e) / temperature
    top_p: vec2<u32>,   // 2^64 times
    random: vec2<u32>,  // the seed's key
}

const USE_TOP_P = 1u;
const USE_MIN_P = 2u;

// A double: magnitude * 2^e, the magnitude 0 or with 53 bits.  There are no infinite ones and no
// subnormal ones: logits are single precision, and options do not take them so far.
struct Real {
    magnitude: vec2<u32>,
    e: i32,
    negative: u32,
}

// A positive number: high * 2^e, with the highest bit set.
struct Factor {
    high: vec2<u32>,
    e: i32,
    unused: u32,
}

struct Found {
    n: atomic<u32>, // 0 between tokens
    a: u32,
    b: u32,
    c: u32,
    items: array<vec4<u32>>, // key (low, high), token
}

@group(0) @binding(0) var<storage, read_write> step: Step;
@group(0) @binding(1) var<storage, read_write> ring: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;
// Bits of tokens that may be sampled, bits of tokens that have a bias, then pairs (token, bias),
// ascending.
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read_write> keys: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> maxima: array<u32>;
@group(0) @binding(7) var<storage, read_write> found: Found;

const LANES = 256u;
const RING = 8192u;
const SHARE = 2048u;    // tokens of a workgroup, at most
const CAPACITY = 1536u; // candidates that `draw` sorts, at most
const PER_LANE = 4u;    // 1024 / LANES

const FAILED_NUMBER = 1u;
const FAILED_NONE = 2u;

// ---- 64-bit integers

fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let x = a1 * b0;
    let y = a0 * b1;
    let middle = (low >> 16u) + (x & 0xffffu) + (y & 0xffffu);
    let high = a1 * b1 + (x >> 16u) + (y >> 16u) + (middle >> 16u);
    return vec2<u32>((middle << 16u) | (low & 0xffffu), high);
}

fn high_product(a: u32, b: u32) -> u32 {
    return wide_product(a, b).y;
}

fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn is_zero(a: vec2<u32>) -> bool {
    return (a.x | a.y) == 0u;
}

// Any n; what is shifted out is lost.
fn shifted_left(a: vec2<u32>, n: u32) -> vec2<u32> {
    if (n == 0u) {
        return a;
    }
    if (n < 32u) {
        return vec2<u32>(a.x << n, (a.y << n) | (a.x >> (32u - n)));
    }
    return vec2<u32>(0u, select(0u, a.x << (n - 32u), n < 64u));
}

fn shifted_right(a: vec2<u32>, n: u32) -> vec2<u32> {
    if (n == 0u) {
        return a;
    }
    if (n < 32u) {
        return vec2<u32>((a.x >> n) | (a.y << (32u - n)), a.y >> n);
    }
    return vec2<u32>(select(0u, a.y >> (n - 32u), n < 64u), 0u);
}

// The lowest bit of the result also tells whether a set bit was shifted out: all that rounding has
// to know of it.
fn shifted_sticky(a: vec2<u32>, n: u32) -> vec2<u32> {
    let s = shifted_right(a, n);
    let back = shifted_left(s, n);
    return vec2<u32>(s.x | select(1u, 0u, all(back == a)), s.y);
}

fn product_modulo(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = wide_product(a.x, b.x);
    return vec2<u32>(low.x, low.y + a.x * b.y + a.y * b.x);
}

// The upper and the lower half of a 128-bit product: (upper, lower), low words first.
fn full_product(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    let p00 = wide_product(a.x, b.x);
    let p01 = wide_product(a.x, b.y);
    let p10 = wide_product(a.y, b.x);
    let p11 = wide_product(a.y, b.y);
    let middle = plus(plus(vec2<u32>(p00.y, 0u), vec2<u32>(p01.x, 0u)), vec2<u32>(p10.x, 0u));
    let carried = plus(vec2<u32>(p10.y, 0u), vec2<u32>(middle.y, 0u));
    let upper = plus(plus(p11, vec2<u32>(p01.y, 0u)), carried);
    return vec4<u32>(upper, p00.x, middle.x);
}

// ---- doubles

const ZERO = Real(vec2<u32>(0u, 0u), 0, 0u);

fn leading_zeros(a: vec2<u32>) -> u32 {
    return select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
}

// m * 2^e to the nearest double, to the even one from halfway.
fn rounded(m: vec2<u32>, e: i32, negative: u32) -> Real {
    if (is_zero(m)) {
        return ZERO;
    }
    let zeros = leading_zeros(m);
    let top = shifted_left(m, zeros);
    let dropped = top.x & 0x7ffu;
    let q = shifted_right(top, 11u);
    let up = dropped > 0x400u || (dropped == 0x400u && (q.x & 1u) == 1u);
    let r = plus(q, vec2<u32>(select(0u, 1u, up), 0u));
    let exponent = e - i32(zeros) + 11;
    if ((r.y & 0x200000u) != 0u) {
        return Real(shifted_right(r, 1u), exponent + 1, negative);
    }
    return Real(r, exponent, negative);
}

// Of a finite single-precision number.
fn real_of_single(bits: u32) -> Real {
    let e = (bits >> 23u) & 0xffu;
    let m = bits & 0x7fffffu;
    let negative = bits >> 31u;
    if (e == 0u) {
        return rounded(vec2<u32>(m, 0u), -149, negative);
    }
    return Real(shifted_left(vec2<u32>(m | 0x800000u, 0u), 29u), i32(e) - 150 - 29, negative);
}

fn opposite(a: Real) -> Real {
    return Real(a.magnitude, a.e, a.negative ^ 1u);
}

fn sum(x: Real, y: Real) -> Real {
    var a = x;
    var b = y;
    let x_is_less = x.e < y.e || (x.e == y.e && is_less(x.magnitude, y.magnitude));
    if (is_zero(x.magnitude) || (!is_zero(y.magnitude) && x_is_less)) {
        a = y;
        b = x;
    }
    if (is_zero(b.magnitude)) {
        return a;
    }
    // 10 bits more than a double has: enough to round, and to cancel.
    let ma = shifted_left(a.magnitude, 10u);
    let mb = shifted_sticky(shifted_left(b.magnitude, 10u), u32(a.e - b.e));
    if (a.negative == b.negative) {
        return rounded(plus(ma, mb), a.e - 10, a.negative);
    }
    return rounded(minus(ma, mb), a.e - 10, a.negative);
}

// b has the 24 bits of a single-precision number at most, and is positive or zero as its sign says.
fn product(a: Real, b: Real) -> Real {
    if (is_zero(a.magnitude) || is_zero(b.magnitude)) {
        return ZERO;
    }
    let short = shifted_right(b.magnitude, 29u).x;
    let low = wide_product(a.magnitude.x, short);
    let high = plus(wide_product(a.magnitude.y, short), vec2<u32>(low.y, 0u));
    // 77 bits, high and low.x, to 63.
    let m = shifted_left(high, 18u) | vec2<u32>(low.x >> 14u, 0u);
    let rest = select(0u, 1u, (low.x & 0x3fffu) != 0u);
    return rounded(vec2<u32>(m.x | rest, m.y), a.e + b.e + 29 + 14, a.negative ^ b.negative);
}

// b as for product, and positive.
fn quotient(a: Real, b: Real) -> Real {
    if (is_zero(a.magnitude)) {
        return ZERO;
    }
    let short = shifted_right(b.magnitude, 29u).x;
    // Digit by digit, of base 256: the 7 of the magnitude, then zeros.
    var q = vec2<u32>(0u, 0u);
    var rest = 0u;
    for (var i = 0u; i < 11u; i++) {
        let digit = select(0u, shifted_right(a.magnitude, 48u - 8u * i).x & 0xffu, i < 7u);
        let part = (rest << 8u) | digit;
        q = shifted_left(q, 8u) | vec2<u32>(part / short, 0u);
        rest = part % short;
    }
    q.x |= select(0u, 1u, rest != 0u);
    return rounded(q, a.e - (b.e + 29) - 32, a.negative);
}

// Keys have the order of the doubles that they are made of.
const NO_KEY = vec2<u32>(0u, 0u); // below all: not a candidate
const BAD_KEY = vec2<u32>(0xffffffffu, 0xffffffffu); // above all: not a number, or infinite

fn key_of_real(a: Real) -> vec2<u32> {
    if (is_zero(a.magnitude)) {
        return vec2<u32>(0u, 0x80000000u);
    }
    let bits = vec2<u32>(a.magnitude.x, (a.magnitude.y & 0xfffffu) | (u32(a.e + 1075) << 20u));
    let signed = bits | vec2<u32>(0u, 0x80000000u);
    return select(signed, ~signed, a.negative == 1u);
}

fn real_of_key(key: vec2<u32>) -> Real {
    let negative = key.y < 0x80000000u;
    let bits = select(key, ~key, negative);
    let e = (bits.y >> 20u) & 0x7ffu;
    if (e == 0u) {
        return ZERO;
    }
    let magnitude = vec2<u32>(bits.x, (bits.y & 0xfffffu) | 0x100000u);
    return Real(magnitude, i32(e) - 1075, select(0u, 1u, negative));
}

// ---- reading the logits
//
// Blocks of 256 tokens go to the workgroups in turn; `at` counts the tokens of one workgroup.

// How often each token of the share is in the history.
var<workgroup> seen: array<atomic<u32>, SHARE>;

fn count_history(group: u32, lane: u32) {
    for (var i = lane; i < SHARE; i += LANES) {
        atomicStore(&seen[i], 0u);
    }
    workgroupBarrier();
    let pos = step.pos;
    let n = min(params.last_n, pos + 1u);
    for (var i = lane; i < n; i += LANES) {
        let token = ring[(pos - i) % RING];
        let block = token / LANES;
        if (token < params.n_vocab && block % params.groups == group) {
            atomicAdd(&seen[block / params.groups * LANES + token % LANES], 1u);
        }
    }
    workgroupBarrier();
}

fn with_bias(token: u32, logit: Real, forbidden: ptr<function, bool>) -> Real {
    let list = 2u * params.mask_words;
    var low = 0u;
    var high = params.n_bias;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (tables[list + 2u * middle] < token) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var biased = logit;
    for (; low < params.n_bias && tables[list + 2u * low] == token; low++) {
        let bias = tables[list + 2u * low + 1u];
        if (bias == 0xff800000u) {
            *forbidden = true;
        } else {
            biased = sum(biased, real_of_single(bias));
        }
    }
    return biased;
}

fn with_penalties(logit: Real, times: u32) -> Real {
    var x = logit;
    if (logit.negative == 0u) {
        x = quotient(logit, params.repeat);
    } else {
        x = product(logit, params.repeat);
    }
    let count = rounded(vec2<u32>(times, 0u), 0, 0u);
    return sum(x, opposite(sum(product(count, params.frequency), params.presence)));
}

fn has_bit(table: u32, token: u32) -> bool {
    return ((tables[table * params.mask_words + token / 32u] >> (token % 32u)) & 1u) == 1u;
}

fn key_of_token(token: u32, at: u32) -> vec2<u32> {
    let bits = logits[token];
    if ((bits & 0x7f800000u) == 0x7f800000u) {
        return select(BAD_KEY, NO_KEY, bits == 0xff800000u);
    }
    if (!has_bit(0u, token)) {
        return NO_KEY;
    }
    var logit = real_of_single(bits);
    if (has_bit(1u, token)) {
        var forbidden = false;
        logit = with_bias(token, logit, &forbidden);
        if (forbidden) {
            return NO_KEY;
        }
    }
    if (params.last_n > 0u) {
        let times = atomicLoad(&seen[at]);
        if (times > 0u) {
            logit = with_penalties(logit, times);
        }
    }
    return key_of_real(logit);
}

// ---- the end of a step

fn put_token(token: u32) {
    if (step.failure == 0u) {
        let next = step.pos + 1u;
        ring[next % RING] = token;
        step.n_tokens = 1u;
        step.n_outputs = 1u;
        step.pos = next;
    }
}

fn failure_of(best: vec2<u32>) -> u32 {
    if (all(best == BAD_KEY)) {
        return FAILED_NUMBER;
    }
    return select(0u, FAILED_NONE, all(best == NO_KEY));
}

fn put_failure(failure: u32) {
    if (step.failure == 0u) {
        step.failure = failure;
    }
}

// ---- greedy

var<workgroup> best: array<vec4<u32>, LANES>; // key, token

fn is_before(a: vec4<u32>, b: vec4<u32>) -> bool {
    return is_less(b.xy, a.xy) || (all(a.xy == b.xy) && a.z < b.z);
}

// The best of all lanes comes to lane 0.
fn reduce_best(lane: u32) {
    workgroupBarrier();
    for (var n = LANES / 2u; n > 0u; n /= 2u) {
        if (lane < n && is_before(best[lane + n], best[lane])) {
            best[lane] = best[lane + n];
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(LANES)
fn greedy_part(@builtin(workgroup_id) group: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    if (params.last_n > 0u) {
        count_history(group.x, lane);
    }
    var mine = vec4<u32>(NO_KEY, 0xffffffffu, 0u);
    var at = lane;
    let all_lanes = params.groups * LANES;
    for (var token = group.x * LANES + lane; token < params.n_vocab; token += all_lanes) {
        let item = vec4<u32>(key_of_token(token, at), token, 0u);
        if (is_before(item, mine)) {
            mine = item;
        }
        at += LANES;
    }
    best[lane] = mine;
    reduce_best(lane);
    if (lane == 0u) {
        found.items[group.x] = best[0];
    }
}

@compute @workgroup_size(LANES)
fn greedy_end(@builtin(local_invocation_index) lane: u32) {
    var mine = vec4<u32>(NO_KEY, 0xffffffffu, 0u);
    for (var i = lane; i < params.groups; i += LANES) {
        let item = found.items[i];
        if (is_before(item, mine)) {
            mine = item;
        }
    }
    best[lane] = mine;
    reduce_best(lane);
    if (lane == 0u) {
        let failure = failure_of(best[0].xy);
        if (failure == 0u) {
            put_token(best[0].z);
        } else {
            put_failure(failure);
        }
    }
}

// ---- the k best
//
// The share of each workgroup is divided into `lists`, together at least 4 k (or one for each
// token).  The k-th largest of their maxima is not above the k-th largest of all logits; little
// more than k tokens reach it, unless many are equal.

var<workgroup> lane_max: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn make_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (params.last_n > 0u) {
        count_history(group.x, lane);
    }
    var largest = 0u;
    var at = lane;
    let all_lanes = params.groups * LANES;
    for (var token = group.x * LANES + lane; token < params.n_vocab; token += all_lanes) {
        let key = key_of_token(token, at);
        keys[token] = key;
        largest = max(largest, key.y);
        at += LANES;
    }
    lane_max[lane] = largest;
    workgroupBarrier();
    for (var n = LANES / 2u; n >= params.lists; n /= 2u) {
        if (lane < n) {
            lane_max[lane] = max(lane_max[lane], lane_max[lane + n]);
        }
        workgroupBarrier();
    }
    if (lane < params.lists) {
        maxima[group.x * params.lists + lane] = lane_max[lane];
    }
}

// How often each value of a digit of 8 bits comes up among those that are looked at.
var<workgroup> bins: array<atomic<u32>, LANES>;
var<workgroup> sums: array<vec2<u32>, LANES>; // of lanes, for running sums
var<workgroup> picked: vec2<u32>;

// The digit of the element with this rank (1: the largest), and its rank among those with the same
// digit.
fn pick_digit(rank: u32, lane: u32) -> vec2<u32> {
    workgroupBarrier();
    let digit = LANES - 1u - lane;
    let own = atomicLoad(&bins[digit]);
    var all_before = own;
    sums[lane].x = own;
    workgroupBarrier();
    for (var n = 1u; n < LANES; n *= 2u) {
        if (lane >= n) {
            all_before += sums[lane - n].x;
        }
        workgroupBarrier();
        sums[lane].x = all_before;
        workgroupBarrier();
    }
    if (all_before >= rank && all_before - own < rank) {
        picked = vec2<u32>(digit, rank - (all_before - own));
    }
    atomicStore(&bins[digit], 0u);
    workgroupBarrier();
    return picked;
}

// The k-th largest of at most LANES maxima: the one that fewer than k are above, and k are not
// below.
fn threshold_of_few(n: u32, lane: u32) -> u32 {
    var mine = 0u;
    if (lane < n) {
        mine = maxima[lane];
    }
    lane_max[lane] = mine;
    workgroupBarrier();
    var above = 0u;
    var not_below = 0u;
    for (var i = 0u; i < LANES; i++) {
        let x = lane_max[i];
        above += select(0u, 1u, x > mine);
        not_below += select(0u, 1u, x >= mine);
    }
    if (above < params.k && not_below >= params.k) {
        picked.x = mine;
    }
    workgroupBarrier();
    return picked.x;
}

// The k-th largest of the maxima, digit by digit.
fn threshold_of_many(n: u32, lane: u32) -> u32 {
    atomicStore(&bins[lane], 0u);
    workgroupBarrier();
    var rank = params.k;
    var value = 0u;
    for (var i = 0u; i < 4u; i++) {
        let shift = 24u - 8u * i;
        for (var m = lane; m < n; m += LANES) {
            let x = maxima[m];
            if (i == 0u || x >> (shift + 8u) == value) {
                atomicAdd(&bins[(x >> shift) & 0xffu], 1u);
            }
        }
        let p = pick_digit(rank, lane);
        value = (value << 8u) | p.x;
        rank = p.y;
    }
    return value;
}

@compute @workgroup_size(LANES)
fn find_best(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n = params.groups * params.lists;
    var lowest = 0u;
    if (n <= LANES) {
        lowest = threshold_of_few(n, lane);
    } else {
        lowest = threshold_of_many(n, lane);
    }
    lowest = max(lowest, 1u);
    let all_lanes = params.groups * LANES;
    for (var token = group.x * LANES + lane; token < params.n_vocab; token += all_lanes) {
        let key = keys[token];
        if (key.y >= lowest) {
            let slot = atomicAdd(&found.n, 1u);
            if (slot < CAPACITY) {
                found.items[slot] = vec4<u32>(key, token, 0u);
            }
        }
    }
}

// ---- the draw

var<workgroup> n_found: u32;
var<workgroup> n_left: atomic<u32>;
var<workgroup> order: array<u32, CAPACITY>; // what is sorted by, the largest first
var<workgroup> slots: array<u32, CAPACITY>; // which of the items it belongs to

// The word of a token that decides before those with a larger number: key, then the smaller token
// first.
fn sort_word(token: u32, word: u32) -> u32 {
    let key = keys[token];
    return select(select(~token, key.x, word == 1u), key.y, word == 0u);
}

// For when more tokens reach the threshold than can be sorted: exactly the k best of all become the
// items.
fn select_exactly(lane: u32) {
    atomicStore(&bins[lane], 0u);
    if (lane == 0u) {
        atomicStore(&n_left, 0u);
    }
    workgroupBarrier();
    var last = vec3<u32>(0u, 0u, 0u); // of the k best
    var rank = params.k;
    for (var i = 0u; i < 12u; i++) {
        let word = i / 4u;
        let shift = 24u - 8u * (i % 4u);
        for (var token = lane; token < params.n_vocab; token += LANES) {
            let x = sort_word(token, word);
            if ((i % 4u == 0u || x >> (shift + 8u) == last[word])
                && (word < 1u || sort_word(token, 0u) == last.x)
                && (word < 2u || sort_word(token, 1u) == last.y)) {
                atomicAdd(&bins[(x >> shift) & 0xffu], 1u);
            }
        }
        let p = pick_digit(rank, lane);
        last[word] = (last[word] << 8u) | p.x;
        rank = p.y;
    }
    let least = vec4<u32>(last.y, last.x, ~last.z, 0u);
    for (var token = lane; token < params.n_vocab; token += LANES) {
        let item = vec4<u32>(keys[token], token, 0u);
        if (!is_before(least, item)) {
            found.items[atomicAdd(&n_left, 1u)] = item;
        }
    }
    storageBarrier();
    workgroupBarrier();
}

fn exchange(a: u32, b: u32) {
    let x = order[a];
    let y = order[b];
    if (x > y || (x == y && is_before(found.items[slots[a]], found.items[slots[b]]))) {
        return;
    }
    let slot = slots[a];
    order[a] = y;
    order[b] = x;
    slots[a] = slots[b];
    slots[b] = slot;
}

// A bitonic sort in which each exchange puts the larger in front, so that n need not be a power of
// two.
fn sort(n: u32, lane: u32) {
    workgroupBarrier();
    for (var size = 2u; size / 2u < n; size *= 2u) {
        // In each block the first with the last, the second with the last but one, and so on.
        let half = size / 2u;
        for (var i = lane; i < n; i += LANES) {
            let first = 2u * i - (i & (half - 1u));
            let other = (first | (size - 1u)) - (i & (half - 1u));
            if (other < n) {
                exchange(first, other);
            }
        }
        workgroupBarrier();
        for (var stride = size / 4u; stride > 0u; stride /= 2u) {
            for (var i = lane; i < n; i += LANES) {
                let first = 2u * i - (i & (stride - 1u));
                if (first + stride < n) {
                    exchange(first, first + stride);
                }
            }
            workgroupBarrier();
        }
    }
}

// Sum of what the lanes before this one have, of those that have anything: the first `lanes`, to
// which this lane need not belong.  The sum of all is then sums[lanes - 1].
fn sum_before(own: vec2<u32>, lane: u32, lanes: u32) -> vec2<u32> {
    var total = own;
    workgroupBarrier();
    sums[lane] = own;
    workgroupBarrier();
    for (var n = 1u; n < lanes; n *= 2u) {
        if (lane >= n) {
            total = plus(total, sums[lane - n]);
        }
        workgroupBarrier();
        sums[lane] = total;
        workgroupBarrier();
    }
    return minus(total, own);
}

// 2^x - 1 in 2^-32, of x in 2^-32: the series of exp(x ln 2), whose coefficients these are, in
// 2^-32.
fn power_of_two(x: u32) -> u32 {
    var p = high_product(0x2u, x) + 0x1eu;
    p = high_product(p, x) + 0x1b5u;
    p = high_product(p, x) + 0x162cu;
    p = high_product(p, x) + 0xffe6u;
    p = high_product(p, x) + 0xa1849u;
    p = high_product(p, x) + 0x576200u;
    p = high_product(p, x) + 0x276556eu;
    p = high_product(p, x) + 0xe35846cu;
    p = high_product(p, x) + 0x3d7f7bffu;
    p = high_product(p, x) + 0xb17217f8u;
    return high_product(p, x);
}

// 2^52 times exp(logit - largest), or, as the factor says, exp((logit - largest) / temperature).
fn weight(logit: Real, largest: Real, factor: Factor) -> vec2<u32> {
    let one = vec2<u32>(0u, 0x100000u);
    let d = sum(largest, opposite(logit));
    if (is_zero(d.magnitude)) {
        return one;
    }
    // The exponent of 1/2, in 2^-32.
    let p = full_product(shifted_left(d.magnitude, 11u), factor.high).xy;
    let down = -(d.e - 11 + 64 + factor.e + 32);
    if (down < 24) {
        return vec2<u32>(0u, 0u);
    }
    let x = shifted_right(p, u32(down));
    if (x.y >= 64u) {
        return vec2<u32>(0u, 0u);
    }
    if (x.x == 0u) {
        return shifted_right(one, x.y);
    }
    let m = vec2<u32>(power_of_two(0u - x.x), 1u);
    if (x.y <= 19u) {
        return shifted_left(m, 19u - x.y);
    }
    return shifted_right(m, x.y - 19u);
}

// How many of the first n items, likeliest first, reach top_p together.
fn count_top_p(n: u32, lane: u32) {
    let per_lane = (n + LANES - 1u) / LANES;
    let lanes = (n + per_lane - 1u) / per_lane;
    let begin = lane * per_lane;
    let end = min(begin + per_lane, n);
    let largest = real_of_key(found.items[slots[0]].xy);
    var weights: array<vec2<u32>, PER_LANE>;
    var own = vec2<u32>(0u, 0u);
    for (var i = begin; i < end; i++) {
        let w = weight(real_of_key(found.items[slots[i]].xy), largest, params.plain);
        weights[i - begin] = w;
        own = plus(own, w);
    }
    var before = sum_before(own, lane, lanes);
    // An item is kept if the sum before it is below top_p of all: below the next whole number, if
    // that is not one.
    let p = full_product(sums[lanes - 1u], params.top_p);
    let limit = plus(p.xy, vec2<u32>(select(1u, 0u, is_zero(p.zw)), 0u));
    for (var i = begin; i < end; i++) {
        if (i == 0u || is_less(before, limit)) {
            atomicMax(&n_left, i + 1u);
        }
        before = plus(before, weights[i - begin]);
    }
}

// How many of the first n items are likely enough for min_p.
fn count_min_p(n: u32, lane: u32) {
    let largest = real_of_key(found.items[slots[0]].xy);
    let lowest = key_of_real(sum(largest, params.log_min_p));
    for (var i = lane; i < n; i += LANES) {
        if (!is_less(found.items[slots[i]].xy, lowest)) {
            atomicMax(&n_left, i + 1u);
        }
    }
}

// The same in all lanes, and known to be.
fn take_left(lane: u32) -> u32 {
    workgroupBarrier();
    if (lane == 0u) {
        n_found = atomicLoad(&n_left);
        atomicStore(&n_left, 0u);
    }
    return workgroupUniformLoad(&n_found);
}

fn mixed(x: vec2<u32>) -> vec2<u32> {
    var z = x;
    z = product_modulo(z ^ shifted_right(z, 30u), vec2<u32>(0x1ce4e5b9u, 0xbf58476du));
    z = product_modulo(z ^ shifted_right(z, 27u), vec2<u32>(0x133111ebu, 0x94d049bbu));
    return z ^ shifted_right(z, 31u);
}

// Of the token behind the step's: 53 bits, at the top.
fn random_bits() -> vec2<u32> {
    let place = plus(vec2<u32>(step.pos, 0u), vec2<u32>(2u, 0u));
    let golden = vec2<u32>(0x7f4a7c15u, 0x9e3779b9u);
    let bits = mixed(plus(params.random, product_modulo(place, golden)));
    return bits & vec2<u32>(0xfffff800u, 0xffffffffu);
}

// Draws one of the first n items: in order of the tokens, the one that takes the running sum of
// weights past the random number's part of their total.
fn draw_from(n: u32, lane: u32) {
    let largest = real_of_key(found.items[slots[0]].xy);
    let random = random_bits();
    workgroupBarrier();
    for (var i = lane; i < n; i += LANES) {
        order[i] = ~found.items[slots[i]].z;
    }
    sort(n, lane);
    let per_lane = (n + LANES - 1u) / LANES;
    let lanes = (n + per_lane - 1u) / per_lane;
    let begin = lane * per_lane;
    let end = min(begin + per_lane, n);
    var weights: array<vec2<u32>, PER_LANE>;
    var own = vec2<u32>(0u, 0u);
    for (var i = begin; i < end; i++) {
        let w = weight(real_of_key(found.items[slots[i]].xy), largest, params.tempered);
        weights[i - begin] = w;
        own = plus(own, w);
    }
    var before = sum_before(own, lane, lanes);
    let drawn_at = full_product(random, sums[lanes - 1u]).xy;
    for (var i = begin; i < end; i++) {
        let behind = plus(before, weights[i - begin]);
        if (!is_less(drawn_at, before) && is_less(drawn_at, behind)) {
            put_token(found.items[slots[i]].z);
        }
        before = behind;
    }
}

@compute @workgroup_size(LANES)
fn draw(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        n_found = atomicLoad(&found.n);
        atomicStore(&found.n, 0u);
    }
    var n = workgroupUniformLoad(&n_found);
    if (n > CAPACITY) {
        select_exactly(lane);
        n = params.k;
    }
    for (var i = lane; i < n; i += LANES) {
        order[i] = found.items[i].y;
        slots[i] = i;
    }
    if (lane == 0u) {
        atomicStore(&n_left, 0u);
    }
    sort(n, lane);
    if (lane == 0u) {
        n_found = FAILED_NONE;
        if (n > 0u) {
            n_found = failure_of(found.items[slots[0]].xy);
        }
    }
    let failure = workgroupUniformLoad(&n_found);
    if (failure != 0u) {
        if (lane == 0u) {
            put_failure(failure);
        }
        return;
    }
    n = min(n, params.k);
    if ((params.stages & USE_TOP_P) != 0u) {
        count_top_p(n, lane);
        n = take_left(lane);
    }
    if ((params.stages & USE_MIN_P) != 0u) {
        count_min_p(n, lane);
        n = take_left(lane);
    }
    draw_from(n, lane);
}
