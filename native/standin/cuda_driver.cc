// A stand-in for libcuda.so.1, the NVIDIA driver, with which cuDNN compiles plans for a GPU that is not
// there. It reports success where cuDNN only needs to hear that a kernel it has just compiled can be loaded,
// and "not supported" for everything else: nothing can be executed through it. The names were found by
// watching what cuDNN 9.24 and its NVRTC look up (LD_DEBUG=symbols); parts of cuDNN also link with some of
// them (`nm -D --undefined-only`) and cannot be opened if one is missing. cuda.h is not included: it renames
// functions to their newest versions, and only the names and the calling convention matter here.
#include <dlfcn.h>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define UNSUPPORTED(name) \
  EXPORT CUresult name() { return kNotSupported; }

namespace {

using CUresult = int;  // of the values of cuda.h's enum
constexpr CUresult kSuccess = 0, kNotFound = 500, kNotSupported = 801;
constexpr int kDriverVersion = 13000;

int placeholder;  // what handles point to
CUresult give(void** handle) {
  *handle = &placeholder;
  return kSuccess;
}

}  // namespace

EXPORT CUresult cuInit(unsigned) { return kSuccess; }
EXPORT CUresult cuDriverGetVersion(int* version) {
  *version = kDriverVersion;
  return kSuccess;
}
EXPORT CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}
EXPORT CUresult cuDeviceGet(int* device, int) {
  *device = 0;
  return kSuccess;
}
EXPORT CUresult cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* found) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (found) *found = *function ? 0 : 1;
  return *function ? kSuccess : kNotFound;
}
EXPORT CUresult cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
EXPORT CUresult cuGetErrorName(CUresult, const char** text) {
  *text = "CUDA_ERROR_NOT_SUPPORTED";
  return kSuccess;
}
EXPORT CUresult cuGetErrorString(CUresult, const char** text) {
  *text = "this is residual's stand-in for the NVIDIA driver: it executes nothing";
  return kSuccess;
}
EXPORT CUresult cuLibraryLoadData(void** library) {
  return give(library);
}  // its other arguments are ignored
EXPORT CUresult cuLibraryGetKernel(void** kernel) { return give(kernel); }
EXPORT CUresult cuKernelGetFunction(void** function) { return give(function); }
EXPORT CUresult cuLibraryUnload() { return kSuccess; }
EXPORT CUresult cuKernelGetAttribute(int* value) {
  *value = 0;
  return kSuccess;
}
EXPORT CUresult cuKernelSetAttribute() { return kSuccess; }

UNSUPPORTED(cuCtxGetCurrent)
UNSUPPORTED(cuCtxGetDevice)
UNSUPPORTED(cuCtxGetLimit)
UNSUPPORTED(cuCtxPopCurrent)
UNSUPPORTED(cuCtxPopCurrent_v2)
UNSUPPORTED(cuCtxPushCurrent)
UNSUPPORTED(cuCtxPushCurrent_v2)
UNSUPPORTED(cuDeviceGetAttribute)
UNSUPPORTED(cuDevicePrimaryCtxRelease)
UNSUPPORTED(cuDevicePrimaryCtxReset)
UNSUPPORTED(cuDevicePrimaryCtxRetain)
UNSUPPORTED(cuFuncGetAttribute)
UNSUPPORTED(cuFuncSetAttribute)
UNSUPPORTED(cuGetExportTable)
UNSUPPORTED(cuLaunchCooperativeKernel)
UNSUPPORTED(cuLaunchKernel)
UNSUPPORTED(cuLaunchKernelEx)
UNSUPPORTED(cuLibraryLoadFromFile)
UNSUPPORTED(cuLinkAddData)
UNSUPPORTED(cuLinkAddData_v2)
UNSUPPORTED(cuLinkAddFile_v2)
UNSUPPORTED(cuLinkComplete)
UNSUPPORTED(cuLinkCreate)
UNSUPPORTED(cuLinkCreate_v2)
UNSUPPORTED(cuLinkDestroy)
UNSUPPORTED(cuMemcpyDtoH_v2)
UNSUPPORTED(cuModuleGetFunction)
UNSUPPORTED(cuModuleGetGlobal_v2)
UNSUPPORTED(cuModuleLoadData)
UNSUPPORTED(cuModuleLoadDataEx)
UNSUPPORTED(cuModuleLoadFatBinary)
UNSUPPORTED(cuModuleUnload)
UNSUPPORTED(cuOccupancyMaxActiveBlocksPerMultiprocessor)
UNSUPPORTED(cuOccupancyMaxPotentialClusterSize)
UNSUPPORTED(cuStreamGetCtx)
UNSUPPORTED(cuStreamSynchronize)
UNSUPPORTED(cuTensorMapEncodeIm2col)
UNSUPPORTED(cuTensorMapEncodeIm2colWide)
UNSUPPORTED(cuTensorMapEncodeTiled)
UNSUPPORTED(cuTensorMapReplaceAddress)
