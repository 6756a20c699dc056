// A CUDA runtime that finds a GPU but none of a library's kernels, and reports libraries being loaded and
// unloaded.
#include <stdio.h>
#include <string.h>

#define SUCCEEDS(name) \
  int cuda##name(void) { return 0; }

int cudaRuntimeGetVersion(int* version) { return *version = 13000, 0; }
int cudaDriverGetVersion(int* version) { return *version = 13000, 0; }
int cudaGetDeviceCount(int* count) { return *count = 1, 0; }
int cudaGetDeviceProperties(void* properties, int device) {
  (void)device;
  return strcpy((char*)properties, "made up"), 0;  // the name comes first
}
const char* cudaGetErrorName(int error) { return error == 500 ? "cudaErrorSymbolNotFound" : "cudaError"; }
const char* cudaGetErrorString(int error) { return error == 500 ? "named symbol not found" : "failed"; }

int cudaLibraryLoadData(void** library) {
  *library = (void*)1;
  return puts("loaded"), fflush(stdout), 0;
}
int cudaLibraryUnload(void* library) {
  return puts(library == (void*)1 ? "unloaded" : "unloaded something else"), fflush(stdout), 0;
}
int cudaLibraryGetKernel(void) { return 500; }

SUCCEEDS(GetLastError)
SUCCEEDS(SetDevice)
SUCCEEDS(MemGetInfo)
SUCCEEDS(Malloc)
SUCCEEDS(Free)
SUCCEEDS(HostAlloc)
SUCCEEDS(FreeHost)
SUCCEEDS(MemcpyAsync)
SUCCEEDS(MemsetAsync)
SUCCEEDS(StreamCreateWithFlags)
SUCCEEDS(StreamDestroy)
SUCCEEDS(StreamWaitEvent)
SUCCEEDS(StreamBeginCapture)
SUCCEEDS(StreamEndCapture)
SUCCEEDS(EventCreateWithFlags)
SUCCEEDS(EventDestroy)
SUCCEEDS(EventRecord)
SUCCEEDS(EventSynchronize)
SUCCEEDS(EventElapsedTime)
SUCCEEDS(GraphInstantiate)
SUCCEEDS(GraphLaunch)
SUCCEEDS(GraphDestroy)
SUCCEEDS(GraphExecDestroy)
SUCCEEDS(LaunchKernel)
