#include "shared/config/models_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/base/utf8.h"

namespace inferpool {
namespace {

constexpr std::size_t kMaxModels = 1'000;
constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxTensors = 64;
constexpr std::size_t kMaxDimensions = 16;
constexpr std::uintmax_t kMaxClassNamesBytes = std::uintmax_t{4} << 20;
constexpr std::size_t kMaxClassNames = 100'000;
constexpr int kMaxBatch = 65'536;
constexpr std::array<std::string_view, 14> kDatatypes = {
    "BOOL",  "UINT8", "UINT16", "UINT32", "UINT64", "INT8",  "INT16",
    "INT32", "INT64", "FP16",   "FP32",   "FP64",   "BYTES", "BF16"};

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName && IsUtf8(text) &&
         std::ranges::none_of(
             text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// A parameter's value as config.pbtxt would have it.
std::optional<std::string> ParameterText(const Json::Value& value) {
  if (value.isString()) return value.asString();
  if (value.isBool()) return value.asBool() ? "true" : "false";
  if (value.isInt64()) return fmt::format("{}", value.asInt64());
  if (value.isDouble() && std::isfinite(value.asDouble())) {
    return fmt::format("{}", value.asDouble());
  }
  if (!value.isArray() || value.empty()) return std::nullopt;
  std::vector<std::string> numbers;
  for (const Json::Value& item : value) {
    const auto number = item.isNumeric() && !item.isBool() ? ParameterText(item) : std::nullopt;
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return fmt::format("{}", fmt::join(numbers, ","));
}

class Reader {
 public:
  Reader(const std::string& folder, std::vector<MemberProblem>& problems)
      : folder_(folder), problems_(problems) {}

  Config::Model Read(const std::string& key, const Json::Value& object) {
    Config::Model model;
    for (const std::string& member : object.getMemberNames()) {
      const Json::Value& value = object[member];
      const std::string name = key + "." + member;
      if (member == "max_batch_size") {
        if (value.isInt() && !value.isBool() && value.asInt() >= 0 && value.asInt() <= kMaxBatch) {
          model.max_batch_size = value.asInt();
        } else {
          Add(value, name, fmt::format("allowed is a whole number from 0 to {}", kMaxBatch));
        }
      } else if (member == "class_names") {
        ReadClassNames(value, name, model.class_names);
      } else if (member == "inputs") {
        ReadTensors(value, name, model.inputs);
      } else if (member == "outputs") {
        ReadTensors(value, name, model.outputs);
      } else if (auto text = ParameterText(value)) {
        model.parameters[member] = *std::move(text);
      } else {
        Add(value, name, "allowed is a text, a number, true or false, or a list of numbers");
      }
    }
    return model;
  }

  void Add(const Json::Value& value, std::string key, std::string message) {
    problems_.push_back({value.getOffsetStart(), std::move(key), std::move(message)});
  }

 private:
  void ReadClassNames(const Json::Value& value, const std::string& key,
                      std::vector<std::string>& names) {
    if (value.isString() && !value.asString().empty()) {
      ReadClassNamesFile(value, key, names);
      return;
    }
    const bool is_list = value.isArray() && !value.empty() && value.size() <= kMaxClassNames &&
                         std::all_of(value.begin(), value.end(),
                                     [](const Json::Value& item) { return item.isString(); });
    if (!is_list) {
      Add(value, key, "allowed is the path of a file with a name a line, or a list of names");
      return;
    }
    for (const Json::Value& item : value) names.push_back(item.asString());
  }

  void ReadClassNamesFile(const Json::Value& value, const std::string& key,
                          std::vector<std::string>& names) {
    const std::filesystem::path path =
        std::filesystem::absolute(std::filesystem::path(folder_) / value.asString())
            .lexically_normal();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
      Add(value, key, fmt::format("{} is no file", path.string()));
      return;
    }
    if (std::filesystem::file_size(path, error) > kMaxClassNamesBytes || error) {
      Add(value, key, fmt::format("{} has more than {} bytes", path.string(), kMaxClassNamesBytes));
      return;
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      Add(value, key, fmt::format("{} cannot be read", path.string()));
      return;
    }
    for (std::string line; std::getline(file, line);) {
      if (line.ends_with('\r')) line.pop_back();
      names.push_back(line);
    }
    while (!names.empty() && names.back().empty()) names.pop_back();
    if (names.empty() || names.size() > kMaxClassNames) {
      Add(value, key,
          fmt::format("{} has {} lines, allowed are 1 to {}", path.string(), names.size(),
                      kMaxClassNames));
    }
  }

  void ReadTensors(const Json::Value& value, const std::string& key,
                   std::vector<Config::Model::Tensor>& tensors) {
    if (!value.isArray() || value.empty() || value.size() > kMaxTensors) {
      Add(value, key, R"(allowed is a list of {"name": ..., "datatype": ..., "shape": [...]})");
      return;
    }
    for (Json::ArrayIndex i = 0; i < value.size(); ++i) {
      ReadTensor(value[i], fmt::format("{}[{}]", key, i), tensors);
    }
  }

  void ReadTensor(const Json::Value& value, const std::string& key,
                  std::vector<Config::Model::Tensor>& tensors) {
    const bool has_three = value.isObject() && value.size() == 3 && value["name"].isString() &&
                           value["datatype"].isString() && value["shape"].isArray();
    if (!has_three || !IsName(value["name"].asString())) {
      Add(value, key, R"(allowed is {"name": ..., "datatype": ..., "shape": [...]})");
      return;
    }
    Config::Model::Tensor tensor{value["name"].asString(), value["datatype"].asString(), {}};
    if (std::ranges::find(kDatatypes, tensor.datatype) == kDatatypes.end()) {
      Add(value["datatype"], key + ".datatype",
          fmt::format("is \"{}\", allowed is one of {}", tensor.datatype,
                      fmt::join(kDatatypes, ", ")));
      return;
    }
    for (const Json::Value& length : value["shape"]) {
      const bool good = length.isInt64() && !length.isBool() &&
                        (length.asInt64() == -1 || length.asInt64() >= 1) &&
                        length.asInt64() <= (std::int64_t{1} << 40);
      if (!good || tensor.shape.size() == kMaxDimensions) {
        Add(value["shape"], key + ".shape",
            fmt::format(
                "allowed are up to {} lengths, each a whole number from 1 on, or -1 for any",
                kMaxDimensions));
        return;
      }
      tensor.shape.push_back(length.asInt64());
    }
    tensors.push_back(std::move(tensor));
  }

  const std::string& folder_;
  std::vector<MemberProblem>& problems_;
};

std::string Joined(const std::vector<std::string>& members, char open, char close) {
  return fmt::format("{}{}{}", open, fmt::join(members, ", "), close);
}

std::string ToJson(const std::vector<Config::Model::Tensor>& tensors) {
  std::vector<std::string> items;
  for (const Config::Model::Tensor& tensor : tensors) {
    items.push_back(fmt::format(R"({{"name": {}, "datatype": {}, "shape": [{}]}})",
                                QuotedJson(tensor.name), QuotedJson(tensor.datatype),
                                fmt::join(tensor.shape, ", ")));
  }
  return Joined(items, '[', ']');
}

}  // namespace

std::vector<MemberProblem> ReadModels(const Json::Value& object, const std::string& folder,
                                      Config::Models& models) {
  std::vector<MemberProblem> problems;
  Reader reader(folder, problems);
  models.clear();
  if (object.size() > kMaxModels) {
    reader.Add(object, "models",
               fmt::format("names {} models, allowed are {}", object.size(), kMaxModels));
    return problems;
  }
  for (const std::string& name : object.getMemberNames()) {
    const Json::Value& value = object[name];
    const std::string key = "models." + name;
    if (!IsName(name)) {
      reader.Add(value, "models", "has a name that no model can have");
    } else if (!value.isObject()) {
      reader.Add(value, key, "allowed is an object { ... }");
    } else {
      models[name] = reader.Read(key, value);
    }
  }
  return problems;
}

std::string ToJson(const Config::Models& models) {
  std::vector<std::string> items;
  for (const auto& [name, model] : models) {
    std::vector<std::string> members;
    if (model.max_batch_size) {
      members.push_back(fmt::format(R"("max_batch_size": {})", *model.max_batch_size));
    }
    if (!model.class_names.empty()) {
      std::vector<std::string> names;
      for (const std::string& class_name : model.class_names) {
        names.push_back(QuotedJson(class_name));
      }
      members.push_back(R"("class_names": )" + Joined(names, '[', ']'));
    }
    for (const auto& [key, value] : model.parameters) {
      members.push_back(fmt::format("{}: {}", QuotedJson(key), QuotedJson(value)));
    }
    if (!model.inputs.empty()) members.push_back(R"("inputs": )" + ToJson(model.inputs));
    if (!model.outputs.empty()) members.push_back(R"("outputs": )" + ToJson(model.outputs));
    items.push_back(fmt::format("{}: {}", QuotedJson(name), Joined(members, '{', '}')));
  }
  return Joined(items, '{', '}');
}

}  // namespace inferpool
