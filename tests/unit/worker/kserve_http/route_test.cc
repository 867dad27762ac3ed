#include "worker/kserve_http/route.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::kserve_http {
namespace {

using To = Route::To;

TEST(RouteTest, PathsOfTheProtocol) {
  for (const char* path : {"/v2", "/v2/", "/v2/x", "/v2/models/a"})
    EXPECT_TRUE(IsProtocolPath(path)) << path;
  for (const char* path : {"", "/", "/v1", "/v22", "/v2x/models", "v2", "/V2"}) {
    EXPECT_FALSE(IsProtocolPath(path)) << path;
  }
}

TEST(RouteTest, EachPathHasItsRoute) {
  struct Case {
    const char* path;
    To to;
    const char* model = "";
    const char* version = "";
  };
  for (const Case& expected : {
           Case{"/v2", To::kServerMetadata},
           {"/v2/health/live", To::kLive},
           {"/v2/health/ready", To::kReady},
           {"/v2/repository/index", To::kIndex},
           {"/v2/models/stats", To::kStatistics},
           {"/v2/models/m", To::kModelMetadata, "m"},
           {"/v2/models/m/versions/3", To::kModelMetadata, "m", "3"},
           {"/v2/models/m/ready", To::kModelReady, "m"},
           {"/v2/models/m/versions/12/ready", To::kModelReady, "m", "12"},
           {"/v2/models/m/config", To::kModelConfig, "m"},
           {"/v2/models/m/stats", To::kStatistics, "m"},
           {"/v2/models/m/versions/1/stats", To::kStatistics, "m", "1"},
           {"/v2/models/m/infer", To::kInfer, "m"},
           {"/v2/models/m/versions/1/infer", To::kInfer, "m", "1"},
           {"/v2/models/a%2eb/infer", To::kInfer, "a.b"},
           {"/v2/models/infer/infer", To::kInfer, "infer"},
           {"/v2/models/versions", To::kModelMetadata, "versions"},
           {"/v2/models/stats/stats", To::kStatistics, "stats"},
           {"/v2/repository/models/m/load", To::kForbidden},
           {"/v2/repository/models/m/unload", To::kForbidden},
           {"/v2/systemsharedmemory/status", To::kForbidden},
           {"/v2/cudasharedmemory/region/r/register", To::kForbidden},
           {"/v2/trace/setting", To::kForbidden},
           {"/v2/models/m/trace/setting", To::kForbidden},
           {"/v2/logging", To::kForbidden},
       }) {
    const Route route = ParseRoute(expected.path);
    EXPECT_EQ(route.to, expected.to) << expected.path;
    EXPECT_EQ(route.model, expected.model) << expected.path;
    EXPECT_EQ(route.version, expected.version) << expected.path;
  }
}

TEST(RouteTest, OtherPathsAreNotFound) {
  for (const std::string path : {"/v2/",
                                 "/v2//",
                                 "/v2/health",
                                 "/v2/health/",
                                 "/v2/health/live/",
                                 "/v2/models",
                                 "/v2/models/",
                                 "/v2/models//infer",
                                 "/v2/models/m/",
                                 "/v2/models/m//infer",
                                 "/v2/models/m/infer/",
                                 "/v2/models/m/infer/x",
                                 "/v2/models/m/generate",
                                 "/v2/models/m/versions",
                                 "/v2/models/m/versions/",
                                 "/v2/models/m/versions//infer",
                                 "/v2/models/m/versions/x",
                                 "/v2/models/m/versions/-1",
                                 "/v2/models/m/versions/1/",
                                 "/v2/models/m/versions/1234567890123456789",
                                 "/v2/models/m/versions/1/versions/1",
                                 "/v2/models/a%2f..%2fb/infer",
                                 "/v2/models/%00/infer",
                                 "/v2/models/%ff/infer",
                                 "/v2/models/a%0ab",
                                 "/v2/repository",
                                 "/v2/repository/index/"}) {
    EXPECT_EQ(ParseRoute(path).to, To::kNotFound) << path;
  }
  EXPECT_EQ(ParseRoute("/v2/models/" + std::string(256, 'm')).to, To::kNotFound);
  EXPECT_EQ(ParseRoute("/v2/models/a%20b").model, "a b");
  EXPECT_EQ(ParseRoute("/v2/models/caf%c3%a9/infer").model, "caf\u00e9");
  EXPECT_EQ(ParseRoute("/v2" + std::string(100'000, '/')).to, To::kNotFound);
}

}  // namespace
}  // namespace inferpool::kserve_http
