#include "worker/kserve_http/message_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/json_text.h"

namespace inferpool::kserve_http {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

std::string EnumName(const FieldDescriptor& field, int value) {
  const auto* known = field.enum_type()->FindValueByNumber(value);
  return known == nullptr ? fmt::format("{}", value) : QuotedJson(known->name());
}

// One value of a field: the `index`-th of a repeated one.
std::string Value(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& of = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return field.is_repeated() ? (of.*repeated)(message, &field, index)
                               : (of.*single)(message, &field);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&Reflection::GetBool, &Reflection::GetRepeatedBool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return fmt::format("{}", get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32));
    case FieldDescriptor::CPPTYPE_UINT32:
      return fmt::format("{}", get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32));
    case FieldDescriptor::CPPTYPE_INT64:
      return fmt::format("{}", get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64));
    case FieldDescriptor::CPPTYPE_UINT64:
      return fmt::format("{}", get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(field, get(&Reflection::GetEnumValue, &Reflection::GetRepeatedEnumValue));
    case FieldDescriptor::CPPTYPE_STRING:
      return QuotedJson(get(&Reflection::GetString, &Reflection::GetRepeatedString));
    default:
      return ToJson(field.is_repeated() ? of.GetRepeatedMessage(message, &field, index)
                                        : of.GetMessage(message, &field));
  }
}

std::vector<std::string> Values(const Message& message, const FieldDescriptor& field) {
  std::vector<std::string> values;
  const int count = message.GetReflection()->FieldSize(message, &field);
  values.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) values.push_back(Value(message, field, i));
  return values;
}

// Keys sorted: the same message is always the same text.
std::string MapJson(const Message& message, const FieldDescriptor& field) {
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  const Reflection& of = *message.GetReflection();
  std::vector<std::string> members;
  for (int i = 0; i < of.FieldSize(message, &field); ++i) {
    const Message& entry = of.GetRepeatedMessage(message, &field, i);
    const std::string name = Value(entry, key, 0);
    members.push_back(fmt::format("{}:{}",
                                  name.starts_with('"') ? name : fmt::format("\"{}\"", name),
                                  Value(entry, value, 0)));
  }
  std::ranges::sort(members);
  return fmt::format("{{{}}}", fmt::join(members, ","));
}

std::string Value(const inference::InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      return parameter.bool_param() ? "true" : "false";
    case inference::InferParameter::kInt64Param:
      return fmt::format("{}", parameter.int64_param());
    case inference::InferParameter::kUint64Param:
      return fmt::format("{}", parameter.uint64_param());
    case inference::InferParameter::kDoubleParam:
      return Number(parameter.double_param());
    case inference::InferParameter::kStringParam:
      return QuotedJson(parameter.string_param());
    default:
      return "null";
  }
}

}  // namespace

std::string ToJson(const Message& message) {
  const auto* descriptor = message.GetDescriptor();
  const Reflection& of = *message.GetReflection();
  std::vector<std::string> members;
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    if (!field.is_repeated() && field.has_presence() && !of.HasField(message, &field)) continue;
    const std::string value = field.is_map() ? MapJson(message, field)
                              : field.is_repeated()
                                  ? fmt::format("[{}]", fmt::join(Values(message, field), ","))
                                  : Value(message, field, 0);
    members.push_back(fmt::format("\"{}\":{}", field.name(), value));
  }
  return fmt::format("{{{}}}", fmt::join(members, ","));
}

std::string ToJson(const inference::RepositoryIndexResponse& index) {
  std::vector<std::string> models;
  for (const auto& model : index.models()) {
    std::string json = fmt::format("{{\"name\":{}", QuotedJson(model.name()));
    const auto add = [&json](std::string_view name, const std::string& value) {
      if (!value.empty()) {
        fmt::format_to(std::back_inserter(json), ",\"{}\":{}", name, QuotedJson(value));
      }
    };
    add("version", model.version());
    add("state", model.state());
    add("reason", model.reason());
    models.push_back(json + "}");
  }
  return fmt::format("[{}]", fmt::join(models, ","));
}

std::string ToJson(inference::ServerMetadataResponse metadata) {
  constexpr std::string_view kNotHere[] = {"system_shared_memory",
                                           "cuda_shared_memory",
                                           "model_repository",
                                           "model_repository(unload_dependents)",
                                           "trace",
                                           "logging",
                                           "generate"};
  constexpr const char* kBinary = "binary_tensor_data";
  auto& extensions = *metadata.mutable_extensions();
  extensions.erase(std::remove_if(extensions.begin(), extensions.end(),
                                  [&](const std::string& name) {
                                    return name == kBinary ||
                                           std::ranges::find(kNotHere, name) != std::end(kNotHere);
                                  }),
                   extensions.end());
  *extensions.Add() = kBinary;
  return ToJson(static_cast<const Message&>(metadata));
}

std::string ToJson(const Parameters& parameters) {
  std::vector<std::string> members;
  for (const auto& [name, value] : parameters) {
    members.push_back(fmt::format("{}:{}", QuotedJson(name), Value(value)));
  }
  std::ranges::sort(members);
  return fmt::format("{{{}}}", fmt::join(members, ","));
}

}  // namespace inferpool::kserve_http
