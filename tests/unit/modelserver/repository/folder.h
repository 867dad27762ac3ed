// A temporary folder for a test, and files in it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace inferpool::modelserver {

class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "modelserver_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      abort();
    }
    path_ = name;
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Writes a file and the folders above it.
  std::filesystem::path Write(const std::string& name, std::string_view text) const {
    std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace inferpool::modelserver
