#include "ops/cli/own_files.h"

#include <unistd.h>

#include <filesystem>

namespace inferpool::ops {
namespace {

// Of the folder that our program lies in. `way`: as the install rules have it.
std::filesystem::path FromProgram(const char* way) {
  return (std::filesystem::path(OwnProgram()).parent_path() / way).lexically_normal();
}

}  // namespace

std::string OwnProgram() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

std::string ModelServerProgram() {
  // Found once: the tree may be moved, and another one put in its place, while the pool runs.
  static const std::string found = [] {
    const std::filesystem::path beside = FromProgram("modelserver");
    const std::filesystem::path installed = FromProgram(INFERPOOL_LIBEXEC "/modelserver");
    const bool is_installed =
        access(beside.c_str(), X_OK) != 0 && access(installed.c_str(), X_OK) == 0;
    return is_installed ? installed : beside;
  }();
  return found;
}

std::string DataFolder() {
  return FromProgram(INFERPOOL_DATA);
}

}  // namespace inferpool::ops
