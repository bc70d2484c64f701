// The buffers that files of this folder read, as kernels declare them (src/render/render.h): compilers check a file that
// begins with "// behind" behind the files that it names.
@group(0) @binding(7) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read> words: array<u32>;
