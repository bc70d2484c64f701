/* abi.h: the part of the WebGPU C interface that Halyard uses.
 *
 * Names, numbers and layouts are those of the standard webgpu.h of 2026, which Dawn and wgpu-native share; they are
 * declared here so that a build needs no package.  tests/webgpu compares every one of them with the header of the pinned
 * wgpu package.  Extras of one library only are at the end.  Declarations only, no memory. */
#ifndef HY_BACKEND_WEBGPU_ABI_H
#define HY_BACKEND_WEBGPU_ABI_H

#include <stddef.h>
#include <stdint.h>

/* ---- handles: WGPUX is a pointer to something that only the library knows */

#define HY__WGPU_HANDLES(X)                                                                                            \
    X(Instance) X(Adapter) X(Device) X(Queue) X(Buffer) X(ShaderModule) X(BindGroupLayout) X(PipelineLayout)           \
    X(ComputePipeline) X(BindGroup) X(CommandEncoder) X(CommandBuffer) X(ComputePassEncoder) X(QuerySet) X(Surface)    \
    X(Sampler) X(Texture) X(TextureView)
#define HY__WGPU_HANDLE(name) typedef struct WGPU##name##Impl *WGPU##name;
HY__WGPU_HANDLES(HY__WGPU_HANDLE)
#undef HY__WGPU_HANDLE

typedef uint32_t WGPUBool;
typedef uint64_t WGPUFlags;
typedef WGPUFlags WGPUBufferUsage, WGPUMapMode, WGPUShaderStage, WGPUTextureUsage;

/* ---- numbers.  Enumerations are 32 bits wide and may hold values that have no name here. */

#define HY__WGPU_ENUMS(X)                                                                                              \
    X(SType, ShaderSourceSPIRV, 1) X(SType, ShaderSourceWGSL, 2)                                                       \
    X(InstanceFeatureName, TimedWaitAny, 1)                                                                            \
    X(FeatureName, TimestampQuery, 9) X(FeatureName, ShaderF16, 0xb) X(FeatureName, Subgroups, 0x12)                   \
    X(BackendType, Undefined, 0) X(BackendType, Null, 1) X(BackendType, D3D12, 4) X(BackendType, Metal, 5)             \
    X(BackendType, Vulkan, 6)                                                                                          \
    X(AdapterType, DiscreteGPU, 1) X(AdapterType, IntegratedGPU, 2) X(AdapterType, CPU, 3) X(AdapterType, Unknown, 4)  \
    X(FeatureLevel, Core, 2)                                                                                           \
    X(PowerPreference, HighPerformance, 2)                                                                             \
    X(CallbackMode, WaitAnyOnly, 1) X(CallbackMode, AllowProcessEvents, 2) X(CallbackMode, AllowSpontaneous, 3)        \
    X(BufferBindingType, Uniform, 2) X(BufferBindingType, Storage, 3) X(BufferBindingType, ReadOnlyStorage, 4)         \
    X(ErrorType, NoError, 1) X(ErrorType, Validation, 2) X(ErrorType, OutOfMemory, 3) X(ErrorType, Internal, 4)        \
    X(ErrorType, Unknown, 5)                                                                                           \
    X(ErrorFilter, Validation, 1) X(ErrorFilter, OutOfMemory, 2) X(ErrorFilter, Internal, 3)                           \
    X(DeviceLostReason, Unknown, 1) X(DeviceLostReason, Destroyed, 2) X(DeviceLostReason, CallbackCancelled, 3)        \
    X(DeviceLostReason, FailedCreation, 4)                                                                             \
    X(QueryType, Timestamp, 2)                                                                                         \
    X(MapAsyncStatus, Success, 1) X(RequestAdapterStatus, Success, 1) X(RequestDeviceStatus, Success, 1)               \
    X(PopErrorScopeStatus, Success, 1) X(QueueWorkDoneStatus, Success, 1) X(CreatePipelineAsyncStatus, Success, 1)     \
    X(WaitStatus, Success, 1) X(WaitStatus, TimedOut, 2) X(Status, Success, 1)                                         \
    X(TextureDimension, 2D, 2) X(TextureViewDimension, 2D, 2) X(TextureFormat, RGBA8Unorm, 0x16)                       \
    X(TextureSampleType, Float, 2) X(TextureAspect, All, 1) X(SamplerBindingType, Filtering, 2)                        \
    X(FilterMode, Linear, 2) X(MipmapFilterMode, Nearest, 1) X(AddressMode, ClampToEdge, 1) X(CompareFunction, Undefined, 0)
#define HY__WGPU_ENUM(type, name, value) WGPU##type##_##name = (value),
enum { HY__WGPU_ENUMS(HY__WGPU_ENUM) };
#undef HY__WGPU_ENUM
typedef uint32_t WGPUSType, WGPUInstanceFeatureName, WGPUFeatureName, WGPUBackendType, WGPUAdapterType,
    WGPUFeatureLevel, WGPUPowerPreference, WGPUCallbackMode, WGPUBufferBindingType, WGPUErrorType, WGPUErrorFilter,
    WGPUDeviceLostReason, WGPUQueryType, WGPUMapAsyncStatus, WGPURequestAdapterStatus, WGPURequestDeviceStatus,
    WGPUPopErrorScopeStatus, WGPUQueueWorkDoneStatus, WGPUCreatePipelineAsyncStatus, WGPUWaitStatus, WGPUStatus,
    WGPUTextureDimension, WGPUTextureViewDimension, WGPUTextureFormat, WGPUTextureSampleType, WGPUTextureAspect,
    WGPUSamplerBindingType, WGPUFilterMode, WGPUMipmapFilterMode, WGPUAddressMode, WGPUCompareFunction;

#define HY__WGPU_FLAGS(X)                                                                                              \
    X(BufferUsage, MapRead, 1) X(BufferUsage, MapWrite, 2) X(BufferUsage, CopySrc, 4) X(BufferUsage, CopyDst, 8)       \
    X(BufferUsage, Uniform, 0x40) X(BufferUsage, Storage, 0x80) X(BufferUsage, QueryResolve, 0x200)                    \
    X(MapMode, Read, 1) X(MapMode, Write, 2) X(ShaderStage, Compute, 4)                                                \
    X(TextureUsage, CopyDst, 2) X(TextureUsage, TextureBinding, 4)
#define HY__WGPU_FLAG(type, name, value) WGPU##type##_##name = (value),
enum { HY__WGPU_FLAGS(HY__WGPU_FLAG) };
#undef HY__WGPU_FLAG

/* ---- structures.  X(structure, members); each member is M(type, name). */

typedef struct WGPUChainedStruct {
    struct WGPUChainedStruct *next;
    WGPUSType sType;
} WGPUChainedStruct;

/* length SIZE_MAX: up to the zero byte. */
typedef struct WGPUStringView {
    char const *data;
    size_t length;
} WGPUStringView;

typedef struct WGPUFuture {
    uint64_t id;
} WGPUFuture;

typedef struct WGPUFutureWaitInfo {
    WGPUFuture future;
    WGPUBool completed;
} WGPUFutureWaitInfo;

typedef struct WGPUInstanceDescriptor {
    WGPUChainedStruct *nextInChain;
    size_t requiredFeatureCount;
    WGPUInstanceFeatureName const *requiredFeatures;
    void const *requiredLimits;
} WGPUInstanceDescriptor;

typedef struct WGPURequestAdapterOptions {
    WGPUChainedStruct *nextInChain;
    WGPUFeatureLevel featureLevel;
    WGPUPowerPreference powerPreference;
    WGPUBool forceFallbackAdapter;
    WGPUBackendType backendType;
    WGPUSurface compatibleSurface;
} WGPURequestAdapterOptions;

/* X(type, name), in order. */
#define HY__WGPU_LIMITS(X)                                                                                             \
    X(uint32_t, maxTextureDimension1D) X(uint32_t, maxTextureDimension2D) X(uint32_t, maxTextureDimension3D)           \
    X(uint32_t, maxTextureArrayLayers) X(uint32_t, maxBindGroups) X(uint32_t, maxBindGroupsPlusVertexBuffers)          \
    X(uint32_t, maxBindingsPerBindGroup) X(uint32_t, maxDynamicUniformBuffersPerPipelineLayout)                        \
    X(uint32_t, maxDynamicStorageBuffersPerPipelineLayout) X(uint32_t, maxSampledTexturesPerShaderStage)               \
    X(uint32_t, maxSamplersPerShaderStage) X(uint32_t, maxStorageBuffersPerShaderStage)                                \
    X(uint32_t, maxStorageTexturesPerShaderStage) X(uint32_t, maxUniformBuffersPerShaderStage)                         \
    X(uint64_t, maxUniformBufferBindingSize) X(uint64_t, maxStorageBufferBindingSize)                                  \
    X(uint32_t, minUniformBufferOffsetAlignment) X(uint32_t, minStorageBufferOffsetAlignment)                          \
    X(uint32_t, maxVertexBuffers) X(uint64_t, maxBufferSize) X(uint32_t, maxVertexAttributes)                          \
    X(uint32_t, maxVertexBufferArrayStride) X(uint32_t, maxInterStageShaderVariables)                                  \
    X(uint32_t, maxColorAttachments) X(uint32_t, maxColorAttachmentBytesPerSample)                                     \
    X(uint32_t, maxComputeWorkgroupStorageSize) X(uint32_t, maxComputeInvocationsPerWorkgroup)                         \
    X(uint32_t, maxComputeWorkgroupSizeX) X(uint32_t, maxComputeWorkgroupSizeY) X(uint32_t, maxComputeWorkgroupSizeZ)  \
    X(uint32_t, maxComputeWorkgroupsPerDimension) X(uint32_t, maxImmediateSize)
typedef struct WGPULimits {
    WGPUChainedStruct *nextInChain;
#define HY__WGPU_LIMIT(type, name) type name;
    HY__WGPU_LIMITS(HY__WGPU_LIMIT)
#undef HY__WGPU_LIMIT
} WGPULimits;

typedef struct WGPUAdapterInfo {
    WGPUChainedStruct *nextInChain;
    WGPUStringView vendor, architecture, device, description;
    WGPUBackendType backendType;
    WGPUAdapterType adapterType;
    uint32_t vendorID, deviceID;
    uint32_t subgroupMinSize, subgroupMaxSize;
} WGPUAdapterInfo;

typedef struct WGPUSupportedFeatures {
    size_t featureCount;
    WGPUFeatureName const *features;
} WGPUSupportedFeatures;

/* Callbacks, and how they are handed over: X(name, arguments in front of the two userdata). */
#define HY__WGPU_CALLBACKS(X)                                                                                          \
    X(RequestAdapter, (WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message, void *u1,         \
                       void *u2))                                                                                      \
    X(RequestDevice, (WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message, void *u1, void *u2))  \
    X(DeviceLost, (WGPUDevice const *device, WGPUDeviceLostReason reason, WGPUStringView message, void *u1, void *u2)) \
    X(PopErrorScope, (WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message, void *u1, void *u2)) \
    X(BufferMap, (WGPUMapAsyncStatus status, WGPUStringView message, void *u1, void *u2))                              \
    X(QueueWorkDone, (WGPUQueueWorkDoneStatus status, WGPUStringView message, void *u1, void *u2))                     \
    X(CreateComputePipelineAsync, (WGPUCreatePipelineAsyncStatus status, WGPUComputePipeline pipeline,                 \
                                   WGPUStringView message, void *u1, void *u2))
#define HY__WGPU_CALLBACK(name, args)                                                                                  \
    typedef void(*WGPU##name##Callback) args;                                                                          \
    typedef struct WGPU##name##CallbackInfo {                                                                          \
        WGPUChainedStruct *nextInChain;                                                                                \
        WGPUCallbackMode mode;                                                                                         \
        WGPU##name##Callback callback;                                                                                 \
        void *userdata1, *userdata2;                                                                                   \
    } WGPU##name##CallbackInfo;
HY__WGPU_CALLBACKS(HY__WGPU_CALLBACK)
#undef HY__WGPU_CALLBACK

typedef void (*WGPUUncapturedErrorCallback)(WGPUDevice const *device, WGPUErrorType type, WGPUStringView message,
                                            void *userdata1, void *userdata2);
typedef struct WGPUUncapturedErrorCallbackInfo {
    WGPUChainedStruct *nextInChain;
    WGPUUncapturedErrorCallback callback;
    void *userdata1, *userdata2;
} WGPUUncapturedErrorCallbackInfo;

/* Descriptors that hold a label and nothing else. */
typedef struct WGPUQueueDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
} WGPUQueueDescriptor;
typedef WGPUQueueDescriptor WGPUShaderModuleDescriptor, WGPUCommandEncoderDescriptor, WGPUCommandBufferDescriptor;

typedef struct WGPUDeviceDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t requiredFeatureCount;
    WGPUFeatureName const *requiredFeatures;
    WGPULimits const *requiredLimits;
    WGPUQueueDescriptor defaultQueue;
    WGPUDeviceLostCallbackInfo deviceLostCallbackInfo;
    WGPUUncapturedErrorCallbackInfo uncapturedErrorCallbackInfo;
} WGPUDeviceDescriptor;

typedef struct WGPUBufferDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUBufferUsage usage;
    uint64_t size;
    WGPUBool mappedAtCreation;
} WGPUBufferDescriptor;

typedef struct WGPUShaderSourceWGSL {
    WGPUChainedStruct chain;
    WGPUStringView code;
} WGPUShaderSourceWGSL;

/* codeSize: words. */
typedef struct WGPUShaderSourceSPIRV {
    WGPUChainedStruct chain;
    uint32_t codeSize;
    uint32_t const *code;
} WGPUShaderSourceSPIRV;

typedef struct WGPUExtent3D {
    uint32_t width, height, depthOrArrayLayers;
} WGPUExtent3D;

typedef struct WGPUOrigin3D {
    uint32_t x, y, z;
} WGPUOrigin3D;

typedef struct WGPUTextureDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUTextureUsage usage;
    WGPUTextureDimension dimension;
    WGPUExtent3D size;
    WGPUTextureFormat format;
    uint32_t mipLevelCount, sampleCount;
    size_t viewFormatCount;
    WGPUTextureFormat const *viewFormats;
} WGPUTextureDescriptor;

/* Never filled in: a view is of all of its texture. */
typedef struct WGPUTextureViewDescriptor WGPUTextureViewDescriptor;

typedef struct WGPUSamplerDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUAddressMode addressModeU, addressModeV, addressModeW;
    WGPUFilterMode magFilter, minFilter;
    WGPUMipmapFilterMode mipmapFilter;
    float lodMinClamp, lodMaxClamp;
    WGPUCompareFunction compare;
    uint16_t maxAnisotropy;
} WGPUSamplerDescriptor;

typedef struct WGPUTexelCopyTextureInfo {
    WGPUTexture texture;
    uint32_t mipLevel;
    WGPUOrigin3D origin;
    WGPUTextureAspect aspect;
} WGPUTexelCopyTextureInfo;

typedef struct WGPUTexelCopyBufferLayout {
    uint64_t offset;
    uint32_t bytesPerRow, rowsPerImage;
} WGPUTexelCopyBufferLayout;

typedef struct WGPUBufferBindingLayout {
    WGPUChainedStruct *nextInChain;
    WGPUBufferBindingType type;
    WGPUBool hasDynamicOffset;
    uint64_t minBindingSize;
} WGPUBufferBindingLayout;

/* Those of what a binding is not stay zero. */
typedef struct WGPUSamplerBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t type;
} WGPUSamplerBindingLayout;
typedef struct WGPUTextureBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t sampleType, viewDimension;
    WGPUBool multisampled;
} WGPUTextureBindingLayout;
typedef struct WGPUStorageTextureBindingLayout {
    WGPUChainedStruct *nextInChain;
    uint32_t access, format, viewDimension;
} WGPUStorageTextureBindingLayout;

typedef struct WGPUBindGroupLayoutEntry {
    WGPUChainedStruct *nextInChain;
    uint32_t binding;
    WGPUShaderStage visibility;
    uint32_t bindingArraySize;
    WGPUBufferBindingLayout buffer;
    WGPUSamplerBindingLayout sampler;
    WGPUTextureBindingLayout texture;
    WGPUStorageTextureBindingLayout storageTexture;
} WGPUBindGroupLayoutEntry;

typedef struct WGPUBindGroupLayoutDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t entryCount;
    WGPUBindGroupLayoutEntry const *entries;
} WGPUBindGroupLayoutDescriptor;

typedef struct WGPUPipelineLayoutDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    size_t bindGroupLayoutCount;
    WGPUBindGroupLayout const *bindGroupLayouts;
    uint32_t immediateSize;
} WGPUPipelineLayoutDescriptor;

typedef struct WGPUConstantEntry {
    WGPUChainedStruct *nextInChain;
    WGPUStringView key;
    double value;
} WGPUConstantEntry;

typedef struct WGPUComputeState {
    WGPUChainedStruct *nextInChain;
    WGPUShaderModule module;
    WGPUStringView entryPoint;
    size_t constantCount;
    WGPUConstantEntry const *constants;
} WGPUComputeState;

typedef struct WGPUComputePipelineDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUPipelineLayout layout;
    WGPUComputeState compute;
} WGPUComputePipelineDescriptor;

typedef struct WGPUBindGroupEntry {
    WGPUChainedStruct *nextInChain;
    uint32_t binding;
    WGPUBuffer buffer;
    uint64_t offset, size;
    WGPUSampler sampler;
    WGPUTextureView textureView;
} WGPUBindGroupEntry;

typedef struct WGPUBindGroupDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUBindGroupLayout layout;
    size_t entryCount;
    WGPUBindGroupEntry const *entries;
} WGPUBindGroupDescriptor;

typedef struct WGPUPassTimestampWrites {
    WGPUChainedStruct *nextInChain;
    WGPUQuerySet querySet;
    uint32_t beginningOfPassWriteIndex, endOfPassWriteIndex;
} WGPUPassTimestampWrites;

typedef struct WGPUComputePassDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUPassTimestampWrites const *timestampWrites;
} WGPUComputePassDescriptor;

typedef struct WGPUQuerySetDescriptor {
    WGPUChainedStruct *nextInChain;
    WGPUStringView label;
    WGPUQueryType type;
    uint32_t count;
} WGPUQuerySetDescriptor;

/* ---- functions: X(result, name without "wgpu", arguments) */

#define HY__WGPU_FUNCTIONS(X)                                                                                          \
    X(WGPUInstance, CreateInstance, (WGPUInstanceDescriptor const *descriptor))                                        \
    X(WGPUFuture, InstanceRequestAdapter, (WGPUInstance instance, WGPURequestAdapterOptions const *options,            \
                                           WGPURequestAdapterCallbackInfo info))                                       \
    X(void, InstanceProcessEvents, (WGPUInstance instance))                                                            \
    X(WGPUStatus, AdapterGetLimits, (WGPUAdapter adapter, WGPULimits *limits))                                         \
    X(void, AdapterGetFeatures, (WGPUAdapter adapter, WGPUSupportedFeatures *features))                                \
    X(void, SupportedFeaturesFreeMembers, (WGPUSupportedFeatures features))                                            \
    X(WGPUStatus, AdapterGetInfo, (WGPUAdapter adapter, WGPUAdapterInfo *info))                                        \
    X(void, AdapterInfoFreeMembers, (WGPUAdapterInfo info))                                                            \
    X(WGPUFuture, AdapterRequestDevice, (WGPUAdapter adapter, WGPUDeviceDescriptor const *descriptor,                  \
                                         WGPURequestDeviceCallbackInfo info))                                          \
    X(WGPUQueue, DeviceGetQueue, (WGPUDevice device))                                                                  \
    X(WGPUBuffer, DeviceCreateBuffer, (WGPUDevice device, WGPUBufferDescriptor const *descriptor))                     \
    X(WGPUShaderModule, DeviceCreateShaderModule, (WGPUDevice device, WGPUShaderModuleDescriptor const *descriptor))   \
    X(WGPUBindGroupLayout, DeviceCreateBindGroupLayout, (WGPUDevice device,                                            \
                                                         WGPUBindGroupLayoutDescriptor const *descriptor))             \
    X(WGPUPipelineLayout, DeviceCreatePipelineLayout, (WGPUDevice device,                                              \
                                                       WGPUPipelineLayoutDescriptor const *descriptor))                \
    X(WGPUComputePipeline, DeviceCreateComputePipeline, (WGPUDevice device,                                            \
                                                         WGPUComputePipelineDescriptor const *descriptor))             \
    X(WGPUBindGroup, DeviceCreateBindGroup, (WGPUDevice device, WGPUBindGroupDescriptor const *descriptor))            \
    X(WGPUCommandEncoder, DeviceCreateCommandEncoder, (WGPUDevice device,                                              \
                                                       WGPUCommandEncoderDescriptor const *descriptor))                \
    X(WGPUQuerySet, DeviceCreateQuerySet, (WGPUDevice device, WGPUQuerySetDescriptor const *descriptor))               \
    X(WGPUTexture, DeviceCreateTexture, (WGPUDevice device, WGPUTextureDescriptor const *descriptor))                  \
    X(WGPUTextureView, TextureCreateView, (WGPUTexture texture, WGPUTextureViewDescriptor const *descriptor))          \
    X(WGPUSampler, DeviceCreateSampler, (WGPUDevice device, WGPUSamplerDescriptor const *descriptor))                  \
    X(void, DevicePushErrorScope, (WGPUDevice device, WGPUErrorFilter filter))                                         \
    X(WGPUFuture, DevicePopErrorScope, (WGPUDevice device, WGPUPopErrorScopeCallbackInfo info))                        \
    X(void, DeviceDestroy, (WGPUDevice device))                                                                        \
    X(void, DeviceAddRef, (WGPUDevice device))                                                                         \
    X(WGPUComputePassEncoder, CommandEncoderBeginComputePass, (WGPUCommandEncoder encoder,                             \
                                                               WGPUComputePassDescriptor const *descriptor))           \
    X(void, CommandEncoderCopyBufferToBuffer, (WGPUCommandEncoder encoder, WGPUBuffer source, uint64_t source_offset,  \
                                               WGPUBuffer to, uint64_t to_offset, uint64_t size))                      \
    X(void, CommandEncoderClearBuffer, (WGPUCommandEncoder encoder, WGPUBuffer buffer, uint64_t offset,                \
                                        uint64_t size))                                                                \
    X(void, CommandEncoderResolveQuerySet, (WGPUCommandEncoder encoder, WGPUQuerySet set, uint32_t first,              \
                                            uint32_t count, WGPUBuffer to, uint64_t to_offset))                        \
    X(WGPUCommandBuffer, CommandEncoderFinish, (WGPUCommandEncoder encoder,                                            \
                                                WGPUCommandBufferDescriptor const *descriptor))                        \
    X(void, ComputePassEncoderSetPipeline, (WGPUComputePassEncoder pass, WGPUComputePipeline pipeline))                \
    X(void, ComputePassEncoderSetBindGroup, (WGPUComputePassEncoder pass, uint32_t index, WGPUBindGroup group,         \
                                             size_t n_offsets, uint32_t const *offsets))                               \
    X(void, ComputePassEncoderDispatchWorkgroups, (WGPUComputePassEncoder pass, uint32_t x, uint32_t y, uint32_t z))   \
    X(void, ComputePassEncoderSetImmediates, (WGPUComputePassEncoder pass, uint32_t offset, void const *data,          \
                                              size_t size))                                                            \
    X(void, ComputePassEncoderEnd, (WGPUComputePassEncoder pass))                                                      \
    X(void, QueueSubmit, (WGPUQueue queue, size_t count, WGPUCommandBuffer const *commands))                           \
    X(void, QueueWriteBuffer, (WGPUQueue queue, WGPUBuffer buffer, uint64_t offset, void const *data, size_t size))    \
    X(void, QueueWriteTexture, (WGPUQueue queue, WGPUTexelCopyTextureInfo const *to, void const *data, size_t size,    \
                                WGPUTexelCopyBufferLayout const *layout, WGPUExtent3D const *extent))                  \
    X(WGPUFuture, QueueOnSubmittedWorkDone, (WGPUQueue queue, WGPUQueueWorkDoneCallbackInfo info))                     \
    X(WGPUFuture, BufferMapAsync, (WGPUBuffer buffer, WGPUMapMode mode, size_t offset, size_t size,                    \
                                   WGPUBufferMapCallbackInfo info))                                                    \
    X(void const *, BufferGetConstMappedRange, (WGPUBuffer buffer, size_t offset, size_t size))                        \
    X(void *, BufferGetMappedRange, (WGPUBuffer buffer, size_t offset, size_t size))                                   \
    X(void, BufferUnmap, (WGPUBuffer buffer))                                                                          \
    X(void, BufferDestroy, (WGPUBuffer buffer))                                                                        \
    X(void, BufferAddRef, (WGPUBuffer buffer))                                                                         \
    X(uint64_t, BufferGetSize, (WGPUBuffer buffer))                                                                    \
    X(WGPUBufferUsage, BufferGetUsage, (WGPUBuffer buffer))                                                            \
    X(void, TextureDestroy, (WGPUTexture texture))                                                                     \
    X(void, InstanceRelease, (WGPUInstance handle))                                                                    \
    X(void, AdapterRelease, (WGPUAdapter handle))                                                                      \
    X(void, DeviceRelease, (WGPUDevice handle))                                                                        \
    X(void, QueueRelease, (WGPUQueue handle))                                                                          \
    X(void, BufferRelease, (WGPUBuffer handle))                                                                        \
    X(void, TextureRelease, (WGPUTexture handle))                                                                      \
    X(void, TextureViewRelease, (WGPUTextureView handle))                                                              \
    X(void, SamplerRelease, (WGPUSampler handle))                                                                      \
    X(void, ShaderModuleRelease, (WGPUShaderModule handle))                                                            \
    X(void, BindGroupLayoutRelease, (WGPUBindGroupLayout handle))                                                      \
    X(void, PipelineLayoutRelease, (WGPUPipelineLayout handle))                                                        \
    X(void, ComputePipelineRelease, (WGPUComputePipeline handle))                                                      \
    X(void, BindGroupRelease, (WGPUBindGroup handle))                                                                  \
    X(void, CommandEncoderRelease, (WGPUCommandEncoder handle))                                                        \
    X(void, CommandBufferRelease, (WGPUCommandBuffer handle))                                                          \
    X(void, ComputePassEncoderRelease, (WGPUComputePassEncoder handle))                                                \
    X(void, QuerySetRelease, (WGPUQuerySet handle))

/* Chained to the information of an adapter: the shapes of matrices that subgroups multiply.  A configuration is five
 * words (types of the factors and of the result, M, N, K), in newer libraries seven (least and most lanes of a subgroup). */
typedef struct hy__dawn_matrices {
    WGPUChainedStruct chain;
    size_t n;
    uint32_t const *words;
} hy__dawn_matrices;
enum { HY__DAWN_F32 = 1, HY__DAWN_F16 = 2, HY__DAWN_I8 = 6 /* types of a configuration */ };

/* Not in every library, or only with a meaning in one of them; NULL where there is none. */
#define HY__WGPU_EXTRAS(X)                                                                                             \
    /* Dawn; wgpu-native exports a function of this name that ends the process */                                      \
    X(WGPUWaitStatus, InstanceWaitAny, (WGPUInstance instance, size_t count, WGPUFutureWaitInfo *futures,              \
                                        uint64_t timeout_ns))                                                          \
    X(WGPUFuture, DeviceCreateComputePipelineAsync, (WGPUDevice device,                                                \
                                                     WGPUComputePipelineDescriptor const *descriptor,                  \
                                                     WGPUCreateComputePipelineAsyncCallbackInfo info))                 \
    X(void, AdapterPropertiesSubgroupMatrixConfigsFreeMembers, (hy__dawn_matrices matrices))                           \
    X(void, DeviceTick, (WGPUDevice device))                                                                           \
    /* wgpu-native */                                                                                                  \
    X(uint32_t, GetVersion, (void))                                                                                    \
    X(WGPUBool, DevicePoll, (WGPUDevice device, WGPUBool wait, uint64_t const *submission))                            \
    X(uint64_t, QueueSubmitForIndex, (WGPUQueue queue, size_t commandCount, WGPUCommandBuffer const *commands))        \
    X(float, QueueGetTimestampPeriod, (WGPUQueue queue))                                           \
    X(WGPUShaderModule, DeviceCreateShaderModuleTrusted,                                           \
      (WGPUDevice device, const WGPUShaderModuleDescriptor *descriptor, uint64_t checks))

/* ---- extras of one library */

enum {
    HY__DAWN_STYPE_CACHE = 0x00050007,     /* WGPUSType of hy__dawn_cache */
    HY__DAWN_STYPE_TOGGLES = 0x0005000a,   /* WGPUSType of hy__dawn_toggles */
    HY__DAWN_STYPE_HOST_MEMORY = 0x00050012, /* WGPUSType of hy__dawn_host_memory */
    HY__DAWN_STYPE_MATRICES = 0x0005003b,  /* WGPUSType of hy__dawn_matrices */
    HY__DAWN_FEATURE_MATRICES = 0x00050034, /* WGPUFeatureName of subgroup matrices */
    HY__DAWN_FEATURE_HOST_MEMORY = 0x0005000f, /* ... of buffers in memory of the host (HostMappedPointer) */
    HY__DAWN_FEATURE_MAPPABLE = 0x00050013, /* ... of buffers of kernels that the host maps (BufferMapExtendedUsages) */
    HY__NATIVE_FEATURE_SUBGROUP = 0x30021, /* wgpu-native's WGPUFeatureName of subgroup operations */
    HY__NATIVE_FEATURE_IMMEDIATES = 0x30001,
    HY__NATIVE_FEATURE_MAPPABLE = 0x3000e, /* buffers of kernels that the host maps too */
    HY__NATIVE_STYPE_INSTANCE = 0x30004, /* WGPUSType of hy__native_instance */
    HY__NATIVE_BACKENDS_PRIMARY = 0x2d   /* all but OpenGL */
};

/* Chained to instances of wgpu-native.  Of the rest, more than there is today, all stays zero: the defaults. */
typedef struct hy__native_instance {
    WGPUChainedStruct chain;
    WGPUFlags backends, flags;
    uint64_t rest[32];
} hy__native_instance;

/* Chained to instances, adapter requests and devices of Dawn. */
typedef struct hy__dawn_toggles {
    WGPUChainedStruct chain;
    size_t n_enabled;
    char const *const *enabled;
    size_t n_disabled;
    char const *const *disabled;
} hy__dawn_toggles;

/* Chained to buffers of Dawn: the host's memory that they are, and what is called when it is free again. */
typedef struct hy__dawn_host_memory {
    WGPUChainedStruct chain;
    void *pointer;
    void (*dispose)(void *userdata);
    void *userdata;
} hy__dawn_host_memory;

/* Chained to devices of Dawn: where it keeps what it has compiled.  A load without room (value_bytes 0) asks for the
 * bytes; 0: there is nothing.  Dawn's own threads call both. */
typedef size_t (*hy__dawn_load)(size_t key_bytes, uint8_t const *key, size_t value_bytes, uint8_t *value, void *u1,
                                void *u2);
typedef void (*hy__dawn_store)(size_t key_bytes, uint8_t const *key, size_t value_bytes, uint8_t const *value, void *u1,
                               void *u2);
typedef struct hy__dawn_cache {
    WGPUChainedStruct chain;
    WGPUStringView isolation;
    struct {
        WGPUChainedStruct *nextInChain;
        hy__dawn_load callback;
        void *userdata1, *userdata2;
    } load;
    struct {
        WGPUChainedStruct *nextInChain;
        hy__dawn_store callback;
        void *userdata1, *userdata2;
    } store;
} hy__dawn_cache;

#endif
