// What lies in /dev/shm of a domain of a test's own; removed at the test's end.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "worker/backend/shm/arena.h"

namespace inferpool::test {

class SharedMemoryFolder {
 public:
  // No other test, nor another run of it, has the same domain.
  SharedMemoryFolder() : domain_(fmt::format("{} {}", getpid(), static_cast<void*>(this))) {}
  ~SharedMemoryFolder() {
    for (const std::string& name : Names()) unlink(backend::SegmentPath(name).c_str());
  }
  SharedMemoryFolder(const SharedMemoryFolder&) = delete;
  SharedMemoryFolder& operator=(const SharedMemoryFolder&) = delete;

  const std::string& domain() const { return domain_; }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
      const std::string name = entry.path().filename();
      if (name.starts_with(backend::SegmentPrefix(domain_))) names.push_back(name);
    }
    return names;
  }

 private:
  const std::string domain_;
};

}  // namespace inferpool::test
