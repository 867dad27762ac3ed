#include "worker/streams/address.h"

#include <fstream>
#include <string>

namespace inferpool::streams {
namespace {

std::string FirstLine(const std::string& path) {
  std::string line;
  if (path.empty()) return line;
  std::ifstream file(path);
  std::getline(file, line);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

RedisAddress AddressOf(const Config::Streams& settings) {
  return {.where = settings.redis,
          .user = settings.user,
          .password = FirstLine(settings.password_file)};
}

}  // namespace inferpool::streams
