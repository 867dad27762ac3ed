#include "worker/http/request_options.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace inferpool::http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongest{30'000};

std::variant<RequestOptions, Problem> Parse(const std::string& header, const std::string& value) {
  fcgi::Request request;
  request.headers.emplace_back(header, value);
  return ParseOptions(request, kLongest);
}

TEST(RequestOptionsTest, WithoutHeadersAllIsAsUsual) {
  const auto options = std::get<RequestOptions>(ParseOptions({}, kLongest));
  EXPECT_FALSE(options.timeout);
  EXPECT_EQ(options.priority, Priority::kNormal);
  EXPECT_EQ(options.trace, nullptr);
}

TEST(RequestOptionsTest, ATimeoutIsCapped) {
  for (const auto& [text, ms] : {std::pair("1", 1),
                                 {"250", 250},
                                 {"0250", 250},
                                 {"30000", 30'000},
                                 {"30001", 30'000},
                                 {"99999999999999999999999", 30'000}}) {
    const auto options = Parse("x-timeout-ms", text);
    ASSERT_TRUE(std::holds_alternative<RequestOptions>(options)) << text;
    EXPECT_EQ(std::get<RequestOptions>(options).timeout, milliseconds(ms)) << text;
  }
}

TEST(RequestOptionsTest, ABadHeaderIsNamed) {
  for (const auto& [header, name, value] : {std::tuple("x-timeout-ms", "X-Timeout-Ms", "0"),
                                            {"x-timeout-ms", "X-Timeout-Ms", "00"},
                                            {"x-timeout-ms", "X-Timeout-Ms", "-1"},
                                            {"x-timeout-ms", "X-Timeout-Ms", "+1"},
                                            {"x-timeout-ms", "X-Timeout-Ms", "1.5"},
                                            {"x-timeout-ms", "X-Timeout-Ms", "1s"},
                                            {"x-timeout-ms", "X-Timeout-Ms", " 1"},
                                            {"x-priority", "X-Priority", "urgent"},
                                            {"x-priority", "X-Priority", "HIGH"},
                                            {"x-priority", "X-Priority", "1"}}) {
    const auto options = Parse(header, value);
    ASSERT_TRUE(std::holds_alternative<Problem>(options)) << value;
    const auto& problem = std::get<Problem>(options);
    EXPECT_EQ(problem.status, 400);
    EXPECT_EQ(problem.code, "bad-parameter");
    EXPECT_EQ(problem.parameter, name);
  }
}

TEST(RequestOptionsTest, PrioritiesHaveNames) {
  for (const auto& [text, priority] : {std::pair("high", Priority::kHigh),
                                       {"normal", Priority::kNormal},
                                       {"low", Priority::kLow}}) {
    EXPECT_EQ(std::get<RequestOptions>(Parse("x-priority", text)).priority, priority);
  }
  EXPECT_EQ(Cap(Priority::kHigh, Priority::kNormal), Priority::kNormal);
  EXPECT_EQ(Cap(Priority::kLow, Priority::kNormal), Priority::kLow);
}

TEST(RequestOptionsTest, AnInvalidTraceIsNone) {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_EQ(std::get<RequestOptions>(Parse("traceparent", good)).trace->traceparent, good);
  EXPECT_EQ(std::get<RequestOptions>(Parse("traceparent", "x" + good)).trace, nullptr);
}

}  // namespace
}  // namespace inferpool::http
