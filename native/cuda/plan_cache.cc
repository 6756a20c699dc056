// A file is four lines of text and then the plan:
//   residual-plan 1
//   <key>
//   <tuned: 0 or 1> <bytes of the plan> <checksum of key and plan, hexadecimal>
//   (empty)
#include "cuda/plan_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace residual::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMagic = "residual-plan 1";
constexpr uintmax_t kMaxFileBytes = uintmax_t(64) << 20;  // plans take about 100 KB

// FNV-1a, 64 bits. Detects damage, not malice.
uint64_t hash(const std::string& text, uint64_t state = 0xcbf29ce484222325u) {
  for (const unsigned char c : text) state = (state ^ c) * 0x100000001b3u;
  return state;
}

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string header(const std::string& key, const PlanCache::Entry& entry) {
  return std::string(kMagic) + "\n" + key + "\n" + (entry.tuned ? "1 " : "0 ") +
         std::to_string(entry.json.size()) + " " + hex(hash(entry.json, hash(key))) + "\n\n";
}

// Unlike closing a stream, reports a full disk before the file gets its final name.
bool write_file(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return false;
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count <= 0) break;
    done += count;
  }
  const bool flushed = fsync(file) == 0;
  return (close(file) == 0) && flushed && done == text.size();
}

}  // namespace

std::string PlanCache::path(const std::string& key) const {
  return (fs::path(folder_) / (hex(hash(key)) + ".plan")).string();
}

std::optional<PlanCache::Entry> PlanCache::read(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  std::error_code error;
  const uintmax_t size = fs::file_size(path(key), error);
  if (error || size > kMaxFileBytes) return std::nullopt;
  std::ifstream file(path(key), std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) return std::nullopt;

  const size_t begin = text.find("\n\n");
  if (begin == std::string::npos) return std::nullopt;
  Entry entry;
  entry.json = text.substr(begin + 2);
  for (const bool tuned : {false, true}) {
    entry.tuned = tuned;
    if (text.compare(0, begin + 2, header(key, entry)) == 0) return entry;
  }
  return std::nullopt;
}

bool PlanCache::write(const std::string& key, const Entry& entry) const {
  if (folder_.empty()) return false;
  static std::atomic<unsigned> count{
      0};  // distinguishes the writers of one process; the process id does the rest
  std::error_code error;
  fs::create_directories(folder_, error);
  const std::string final_path = path(key);
  const std::string temporary =
      final_path + "." + std::to_string(getpid()) + "." + std::to_string(count++) + ".tmp";
  if (write_file(temporary, header(key, entry) + entry.json)) {
    fs::rename(temporary, final_path, error);
    if (!error) return true;
  }
  fs::remove(temporary, error);
  return false;
}

}  // namespace residual::cuda
