// Writes a model server's messages as JSON.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "proto/kserve.pb.h"

namespace inferpool::kserve_http {

// Writes a message as Triton does, and not as protobuf's own JSON: names as in the .proto, 64-bit
// integers as numbers, enums by name. A field that is not set has its default, if it has one.
std::string ToJson(const google::protobuf::Message& message);

// [{"name","version","state","reason"},...]; members that would be empty are left out.
std::string ToJson(const inference::RepositoryIndexResponse& index);

// The extensions are those that are offered over HTTP, without the ones for administrators.
std::string ToJson(inference::ServerMetadataResponse metadata);

// {"name":value,...}
using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;
std::string ToJson(const Parameters& parameters);

}  // namespace inferpool::kserve_http
