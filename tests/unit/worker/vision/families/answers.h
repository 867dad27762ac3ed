// Tensors as a model server answers them.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <cstring>
#include <list>
#include <opencv2/core.hpp>
#include <string>
#include <utility>
#include <vector>

#include "proto/datatype.h"

namespace inferpool::vision {

// Owns names and bytes that its views borrow.
class Answer {
 public:
  void Add(std::string name, const std::string& datatype, std::vector<std::int64_t> shape,
           const std::vector<float>& values) {
    if (datatype == "INT64") {
      std::vector<std::byte> bytes(values.size() * sizeof(std::int64_t));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto value = static_cast<std::int64_t>(values[i]);
        std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
      }
      Keep(std::move(name), datatype, std::move(shape), std::move(bytes));
      return;
    }
    const int type = datatype == "FP16" ? CV_16F : datatype == "INT32" ? CV_32S : CV_32F;
    cv::Mat converted;
    cv::Mat(1, static_cast<int>(values.size()), CV_32F, const_cast<float*>(values.data()))
        .convertTo(converted, type);
    std::vector<std::byte> bytes(converted.total() * converted.elemSize());
    if (!bytes.empty()) {
      std::memcpy(bytes.data(), converted.data, bytes.size());
    }
    Keep(std::move(name), datatype, std::move(shape), std::move(bytes));
  }

  std::vector<TensorView>& views() { return views_; }
  const std::vector<TensorView>& views() const { return views_; }

 private:
  struct Owned {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };

  void Keep(std::string name, const std::string& datatype, std::vector<std::int64_t> shape,
            std::vector<std::byte> bytes) {
    owned_.push_back({std::move(name), std::move(shape), std::move(bytes)});
    const Owned& owned = owned_.back();
    views_.push_back({owned.name, ParseDatatype(datatype), owned.shape, owned.bytes});
  }

  std::list<Owned> owned_;
  std::vector<TensorView> views_;
};

// "outputs" of an entry of answers.json.
inline Answer AnswerOf(const Json::Value& known) {
  Answer answer;
  for (const Json::Value& output : known["outputs"]) {
    std::vector<std::int64_t> shape;
    for (const Json::Value& length : output["shape"]) {
      shape.push_back(length.asInt64());
    }
    std::vector<float> values;
    for (const Json::Value& value : output["values"]) {
      values.push_back(value.asFloat());
    }
    answer.Add(output["name"].asString(), output["datatype"].asString(), std::move(shape), values);
  }
  return answer;
}

}  // namespace inferpool::vision
