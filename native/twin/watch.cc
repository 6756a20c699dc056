#include "twin/watch.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

namespace residual::twin {
namespace {

std::mutex mutex;
std::string log_path, hold_path;

}  // namespace

void watch(const std::string& log, const std::string& hold) {
  const std::lock_guard<std::mutex> lock(mutex);
  log_path = log;
  hold_path = hold;
}

void done(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!log_path.empty()) std::ofstream(log_path, std::ios::app) << what << "\n";
}

bool pass_hold() {
  std::string path;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    path = hold_path;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!path.empty() && std::filesystem::exists(path)) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace residual::twin
