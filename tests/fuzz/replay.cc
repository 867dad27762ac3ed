// Runs the files of a folder through a fuzz target, for builds without libFuzzer.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/check.h"

// Which a target may have.
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* count, char*** arguments);

int main(int count, char** arguments) {
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&count, &arguments);
  HOLDS(count == 2);
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(arguments[1])) {
    std::ifstream stream(file.path(), std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(stream), {}};
    std::printf("%s\n", file.path().c_str());
    std::fflush(stdout);
    // A copy of exactly its size, so that a sanitizer sees who reads past its end.
    const std::vector<std::uint8_t> bytes(input.begin(), input.end());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++files;
  }
  HOLDS(files > 0);
}
