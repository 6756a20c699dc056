// A library to preload: the RESIDUAL_FAILING_THREAD-th std::thread of the process runs out of memory.
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

void std::thread::_M_start_thread(_State_ptr state, void (*depend)()) {
  static std::atomic<int> started{0};
  const char* const failing = std::getenv("RESIDUAL_FAILING_THREAD");
  if (failing && ++started == std::atoi(failing)) throw std::bad_alloc();
  using Start = void (*)(std::thread*, _State_ptr, void (*)());
  const char* const name =
      "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE";
  reinterpret_cast<Start>(dlsym(RTLD_NEXT, name))(this, std::move(state), depend);
}
