// From an entry of a camera's stream to a frame. Pure, but for the clock.
#pragma once

#include <string_view>

#include "shared/config/config.h"
#include "shared/redis/redis.h"
#include "worker/streams/frame.h"
#include "worker/streams/schedule.h"

namespace inferpool::streams {

// What producers call a field.
std::string_view FieldName(const Config::Streams& settings, std::string_view field);

// The frame of the entry with this id and these fields, which is read now. What the entry does not
// say is the camera's. `claimed`: another process had it before.
Frame FrameOf(const Config::Streams& settings, const Camera& camera, Reply id, Reply fields,
              bool claimed);

}  // namespace inferpool::streams
