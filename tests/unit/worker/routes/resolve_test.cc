#include "worker/routes/resolve.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace inferpool::routes {
namespace {

Config::Routes Table(double percent = 5) {
  Config::Routes routes;
  routes["objects"] = {
      .model = "yolo",
      .version = "3",
      .canary = Config::Route::Canary{.model = "yolo", .version = "4", .percent = percent},
      .shadow = Config::Route::Shadow{.model = "rtdetr", .percent = 20},
      .fallback = "small"};
  routes["small"] = {.model = "yolo_small", .fallback = "tiny@2"};
  return routes;
}

std::string Key(int i) {
  return fmt::format("key-{}", i);
}

bool IsIn(const Config::Routes& routes, const Client& client) {
  return IsInCanary("objects", routes.at("objects"), client);
}

TEST(ResolveTest, ClientsAreSpreadEvenly) {
  constexpr int kClients = 100'000;
  for (const double percent : {1.0, 5.0, 50.0, 99.0}) {
    const Config::Routes routes = Table(percent);
    int in = 0;
    for (int i = 0; i < kClients; ++i) in += IsIn(routes, {.key = Key(i)}) ? 1 : 0;
    const double share = percent / 100;
    // Five standard deviations.
    const double slack = 5 * std::sqrt(kClients * share * (1 - share));
    EXPECT_NEAR(in, kClients * share, slack) << percent;
  }
  std::array<int, 20> places{};
  for (int i = 0; i < kClients; ++i) {
    const double place = PlaceOf("objects", fmt::format("10.0.{}.{}", i / 256, i % 256));
    ASSERT_GE(place, 0);
    ASSERT_LT(place, 100);
    ++places[static_cast<std::size_t>(place / 5)];
  }
  EXPECT_GT(*std::ranges::min_element(places), kClients / 20 * 0.93);
  EXPECT_LT(*std::ranges::max_element(places), kClients / 20 * 1.07);
}

TEST(ResolveTest, TheSameEverywhereAndAlways) {
  // Other numbers would move clients between models when a pool is updated.
  EXPECT_NEAR(PlaceOf("objects", "key shop"), 78.533, 0.001);
  EXPECT_NEAR(PlaceOf("objects", "address 10.0.0.7"), 99.073, 0.001);
  EXPECT_NE(PlaceOf("objects", "key shop"), PlaceOf("faces", "key shop"));
  EXPECT_NE(PlaceOf("a", "bc"), PlaceOf("ab", "c"));
}

TEST(ResolveTest, ThoseInTheCanaryStayWhenItGrows) {
  for (int i = 0; i < 2'000; ++i) {
    bool was_in = false;
    for (const double percent : {0.0, 0.1, 1.0, 5.0, 25.0, 99.9, 100.0}) {
      const bool is_in = IsIn(Table(percent), {.key = Key(i)});
      EXPECT_TRUE(is_in || !was_in) << i << " left at " << percent;
      was_in = is_in;
    }
    EXPECT_FALSE(IsIn(Table(0), {.key = Key(i)}));
    EXPECT_TRUE(was_in) << "100 is everybody";
  }
}

TEST(ResolveTest, ByKeyOrByAddress) {
  Config::Routes routes = Table(50);
  const auto in = [&](std::string_view key, std::string_view address) {
    return IsIn(routes, {.key = key, .address = address});
  };
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(in(Key(i), "10.0.0.1"), in(Key(i), "10.0.0.2"));
  }
  int apart = 0;
  for (int i = 0; i < 100; ++i) {
    apart += in("", "10.0.0.1") != in("", fmt::format("10.0.1.{}", i)) ? 1 : 0;
  }
  EXPECT_GT(apart, 20) << "without keys it is by address";
  routes["objects"].canary->by_address = true;
  for (int i = 0; i < 100; ++i) {
    const std::string network = fmt::format("2001:db8:0:{:x}:", i);
    EXPECT_EQ(in(Key(1), "10.0.0.7"), in(Key(i), "10.0.0.7"));
    EXPECT_EQ(in("", network + ":1"), in("", network + "aaaa:bbbb:cccc:dddd"))
        << "an address of IPv6 is one of many of its owner's";
  }
}

TEST(ResolveTest, WaysAreTheCanaryThePrimaryAndTheFallbacks) {
  const auto ways = [](const Config::Routes& routes) {
    std::string text;
    for (const Way& way : WaysOf("objects", routes, {.key = "shop"})) {
      text += fmt::format("{} {}, ", Name(way.variant), Name(way.model));
    }
    return text;
  };
  EXPECT_EQ(ways(Table(0)), "primary yolo@3, fallback yolo_small, fallback tiny@2, ");
  EXPECT_EQ(ways(Table(100)),
            "canary yolo@4, primary yolo@3, fallback yolo_small, fallback tiny@2, ");
  Config::Routes routes = Table(0);
  routes["small"].fallback = "";
  routes["small"].canary = Config::Route::Canary{.model = "nano", .percent = 100};
  EXPECT_EQ(ways(routes), "primary yolo@3, fallback nano, fallback yolo_small, ");
  routes["small"] = {.model = "yolo", .version = "3"};
  EXPECT_EQ(ways(routes), "primary yolo@3, ") << "a model is asked once";
  routes["small"] = {.model = "m", .fallback = "objects"};
  EXPECT_EQ(ways(routes), "primary yolo@3, fallback m, ") << "a circle ends";
  routes["objects"].fallback = "";
  EXPECT_EQ(ways(routes), "primary yolo@3, ");
}

TEST(ResolveTest, AShareOfTheRequestsHasAShadow) {
  const Config::Routes routes = Table();
  int shadows = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto shadow = ShadowOf("objects", routes.at("objects"), fmt::format("request-{}", i));
    if (!shadow) continue;
    ++shadows;
    EXPECT_EQ(Name(*shadow), "rtdetr");
  }
  EXPECT_NEAR(shadows, 2'000, 200);
  EXPECT_FALSE(ShadowOf("small", routes.at("small"), "request-1"));
}

}  // namespace
}  // namespace inferpool::routes
