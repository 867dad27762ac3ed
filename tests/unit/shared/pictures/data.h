// The files under tests/data/vision, which make_expected.py there made.
#pragma once

#include <json/json.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace inferpool::vision {

inline std::string ReadData(std::string_view name) {
  const std::string path = std::string(INFERPOOL_SOURCE_DIR "/tests/data/vision/").append(name);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Json::Value ReadJson(std::string_view name) {
  std::ifstream file(std::string(INFERPOOL_SOURCE_DIR "/tests/data/vision/").append(name));
  Json::Value value;
  file >> value;
  return value;
}

// What pictures.json says of one picture and, in NAME.bgr, how it looks upright.
struct KnownPicture {
  std::string name;
  int width;
  int height;
  int orientation;
  int tolerance;  // on a channel, of 255
};

inline std::vector<KnownPicture> KnownPictures() {
  std::vector<KnownPicture> pictures;
  for (const Json::Value& entry : ReadJson("pictures.json")) {
    pictures.push_back({entry["file"].asString(), entry["width"].asInt(), entry["height"].asInt(),
                        entry["orientation"].asInt(), entry["tolerance"].asInt()});
  }
  return pictures;
}

}  // namespace inferpool::vision
