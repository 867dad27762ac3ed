// What a model server says of itself and its models, as JSON.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "proto/kserve.pb.h"

namespace inferpool::kserve_http {

// Names as the .proto has them, 64-bit numbers as numbers and enums by name: as Triton writes its
// messages, and not as protobuf's own JSON does. Fields that are not set have their default, if
// they can have one.
std::string ToJson(const google::protobuf::Message& message);

// [{"name","version","state","reason"},...]; of an entry only what is not empty.
std::string ToJson(const inference::RepositoryIndexResponse& index);

// Its extensions are those that are offered here: without the ones for administrators.
std::string ToJson(inference::ServerMetadataResponse metadata);

// {"name":value,...}
using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;
std::string ToJson(const Parameters& parameters);

}  // namespace inferpool::kserve_http
