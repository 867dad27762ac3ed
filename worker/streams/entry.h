// From an entry of a camera's stream to a frame. Pure, but for the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/config/config.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// What producers call the fields of an entry.
struct FieldNames {
  explicit FieldNames(const Config::Fields& names);

  std::string picture;
  std::string frame;
  std::string epoch;
  std::string seq;
  std::string time;
  std::string model;
  std::string parameters;
};

// The Unix time in ms that the id of an entry begins with.
std::int64_t TimeOfId(std::string_view id);

// The bytes of all names and values.
std::size_t BytesOf(Reply fields);

// The frame of the entry with this id and these fields, which is read now. What the entry does not
// say is the camera's; what it says at greater length than anything sensible has is cut off.
// `claimed`: another process had it before.
Frame FrameOf(const FieldNames& names, const Camera& camera, Reply id, Reply fields, bool claimed);

}  // namespace inferpool::streams
