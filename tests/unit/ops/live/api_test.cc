#include "ops/live/api.h"

#include <gtest/gtest.h>

#include <string_view>
#include <tuple>

namespace inferpool::live {
namespace {

using To = Route::To;

TEST(RouteTest, EachPathHasOne) {
  for (const auto& [path, to, camera] :
       {std::tuple("/v1/cameras", To::kList, ""),
        {"/v1/cameras/door-3", To::kCamera, "door-3"},
        {"/v1/cameras/door-3/latest", To::kLatest, "door-3"},
        {"/v1/cameras/door-3/snapshot.jpg", To::kSnapshot, "door-3"},
        {"/v1/cameras/door-3/events", To::kEvents, "door-3"},
        {"/v1/cameras/a%2Fb%20c/events", To::kEvents, "a/b c"},
        {"/v1/cameras/latest", To::kCamera, "latest"},
        // A key's list of cameras holds for these as well.
        {"/v1/cameras/door-3/", To::kNotFound, "door-3"},
        {"/v1/cameras/door-3/other", To::kNotFound, "door-3"},
        {"/v1/cameras/door-3/latest/", To::kNotFound, "door-3"},
        {"/v1/cameras/", To::kNotFound, ""},
        {"/v1/cameras//latest", To::kNotFound, ""},
        {"/v1/camerasx", To::kNotFound, ""},
        {"/v1", To::kNotFound, ""},
        {"", To::kNotFound, ""}}) {
    const Route route = ParseRoute(path);
    EXPECT_EQ(route.to, to) << path;
    EXPECT_EQ(route.camera, camera) << path;
  }
}

TEST(CameraJsonTest, WhatIsNotKnownIsNull) {
  EXPECT_EQ(ToJson({.id = "a\"b", .known = {}, .counts = {}}, 5'000),
            R"({"id":"a\"b","rate":0.00,"age_ms":null,"lag":{"ms":null,"frames":null},)"
            R"("status":null,"ledger":null})");
  const auto newest = std::make_shared<const Answer>(
      Answer{.camera = "a", .status = 200, .captured_ms = 1'000, .answered_ms = 1'250});
  EXPECT_EQ(ToJson({.id = "a",
                    .known = {.newest = newest, .rate = 4.987},
                    .counts = {.ledger = Ledger{9, 8, 0, 0, 0, 0, 0, 1}, .waiting = 3}},
                   5'000),
            R"({"id":"a","rate":4.99,"age_ms":3750,"lag":{"ms":250,"frames":3},"status":200,)"
            R"("ledger":{"produced":9,"published":8,"superseded":0,"stale":0,"trimmed":0,)"
            R"("overwritten":0,"failed":0,"pending":1}})");
}

}  // namespace
}  // namespace inferpool::live
