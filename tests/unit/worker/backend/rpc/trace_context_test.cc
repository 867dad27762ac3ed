#include "worker/backend/rpc/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace inferpool::backend {
namespace {

const std::string kGood = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string StateOf(const std::string& tracestate) {
  return ParseTraceContext(kGood, tracestate)->tracestate;
}

TEST(TraceContextTest, AValidOneGoesOnAsItCame) {
  const auto trace = ParseTraceContext(kGood, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->traceparent, kGood);
  EXPECT_EQ(trace->trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(trace->tracestate, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
  EXPECT_TRUE(ParseTraceContext(" " + kGood + "\t", "")) << "blanks around a header's value";
}

TEST(TraceContextTest, ALaterVersionMayBeLonger) {
  const std::string later = "cc" + kGood.substr(2);
  EXPECT_TRUE(ParseTraceContext(later, ""));
  EXPECT_TRUE(ParseTraceContext(later + "-what-the-future-brings", ""));
  EXPECT_FALSE(ParseTraceContext(later + ".what", ""));
  EXPECT_FALSE(ParseTraceContext(later + "0", ""));
  EXPECT_FALSE(ParseTraceContext(later + "-what the", ""));
  EXPECT_FALSE(ParseTraceContext(later + "-\xc3\xa9", "")) << "gRPC could not carry it";
}

TEST(TraceContextTest, AnInvalidOneIsIgnored) {
  for (const char* text : {
           "",
           "00",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
           "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
           "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
           "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
           "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
       }) {
    EXPECT_FALSE(ParseTraceContext(text, "a=b")) << text;
  }
}

TEST(TraceContextTest, AnInvalidTracestateIsLeftOut) {
  EXPECT_EQ(StateOf("a=1 ,\t b=2 , , c@d=x y"), "a=1,b=2,c@d=x y");
  std::string many = "k0=v";
  for (int i = 1; i < 32; ++i) many += ",k" + std::to_string(i) + "=v";
  EXPECT_EQ(StateOf(many), many);
  for (const std::string& text :
       {std::string("a"), std::string("=1"), std::string("a="), std::string("A=1"),
        std::string("a=1,a=2"), std::string("a=1=2"), std::string("a b=1"), std::string("a=\x01"),
        std::string("a=\xc3\xa9"), many + ",one=more", "a=" + std::string(257, 'x')}) {
    EXPECT_EQ(StateOf(text), "") << text;
  }
}

}  // namespace
}  // namespace inferpool::backend
