// Models made of a few lines of configuration, for tests.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/repository/model.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {

inline inference::ModelConfig Config(const std::string& text, const std::string& name = "m") {
  inference::ModelConfig config;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &config)) << text;
  config.set_name(name);
  return config;
}

// A model without files.
inline absl::StatusOr<std::unique_ptr<Model>> LoadConfigured(const std::string& text) {
  return Model::Load("/nonexistent", 1, Config(text));
}

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::string RawTexts(const std::vector<std::string>& texts) {
  std::string raw;
  for (const std::string& text : texts) AppendBytesElement(text, raw);
  return raw;
}

inline void AddInput(inference::ModelInferRequest& request, std::string_view name,
                     inference::DataType datatype, const std::vector<std::int64_t>& shape,
                     std::string raw) {
  AddRawInput(request, name, datatype, shape) = std::move(raw);
}

}  // namespace inferpool::modelserver
