#include "modelserver/execution/request_parameters.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace inferpool::modelserver {
namespace {

using inference::InferParameter;
using Set = std::function<void(InferParameter&)>;

Set Int(std::int64_t value) {
  return [value](InferParameter& parameter) { parameter.set_int64_param(value); };
}
Set Unsigned(std::uint64_t value) {
  return [value](InferParameter& parameter) { parameter.set_uint64_param(value); };
}
Set Bool(bool value) {
  return [value](InferParameter& parameter) { parameter.set_bool_param(value); };
}
Set Text(const std::string& value) {
  return [value](InferParameter& parameter) { parameter.set_string_param(value); };
}
Set Double(double value) {
  return [value](InferParameter& parameter) { parameter.set_double_param(value); };
}
const Set kNothing = [](InferParameter&) {};

TensorParameters One(const std::string& name, const Set& set) {
  TensorParameters parameters;
  set(parameters[name]);
  return parameters;
}

absl::StatusOr<InferContext> Read(const std::string& name, const Set& set) {
  InferContext context{.deadline = Deadline::After(std::chrono::seconds(1)), .gone = {}};
  RETURN_IF_ERROR(ReadParameters(One(name, set), context));
  return context;
}

// The error names the parameter.
bool Refused(const std::string& name, const Set& set) {
  const absl::Status status = Read(name, set).status();
  return absl::IsInvalidArgument(status) &&
         Message(status).find("'" + name + "'") != std::string_view::npos;
}

TEST(RequestParameters, PriorityAndTimeoutAreNumbersFromZero) {
  EXPECT_EQ(Read("priority", Int(3))->priority, 3U);
  EXPECT_EQ(Read("priority", Unsigned(~std::uint64_t{0}))->priority, ~std::uint64_t{0});
  EXPECT_EQ(Read("timeout", Int(7))->timeout.count(), 7);
  EXPECT_EQ(Read("timeout", Int(0))->timeout.count(), 0);
  EXPECT_EQ(Read("other", Int(7))->priority, 0U);
}

TEST(RequestParameters, OfAnotherTypeAreRefused) {
  for (const Set& set : {Bool(true), Text("1"), Double(1), kNothing}) {
    EXPECT_TRUE(Refused("priority", set));
    EXPECT_TRUE(Refused("timeout", set));
  }
  EXPECT_TRUE(Refused("timeout", Unsigned(1)));
  EXPECT_TRUE(Refused("priority", Int(-1)));
}

// As a Triton takes it: it counts it as longer than any other.
TEST(RequestParameters, ANegativeTimeoutIsNone) {
  EXPECT_EQ(Read("timeout", Int(-1))->timeout.count(), 0);
}

TEST(RequestParameters, OfSequencesAreCheckedAndMeanNothing) {
  for (const char* name : {"sequence_start", "sequence_end"}) {
    EXPECT_TRUE(Read(name, Bool(true)).ok()) << name;
    EXPECT_TRUE(Refused(name, Int(1))) << name;
  }
  for (const Set& set : {Int(0), Int(42), Text("a")}) {
    EXPECT_TRUE(Read("sequence_id", set).ok());
  }
  EXPECT_TRUE(Refused("sequence_id", Bool(true)));
}

TEST(RequestParameters, TritonsOwnNamesAreKnownOrRefused) {
  EXPECT_TRUE(Read("triton_enable_empty_final_response", Bool(true)).ok());
  EXPECT_TRUE(Refused("triton_enable_empty_final_response", Int(1)));
  EXPECT_TRUE(Refused("triton_x", Bool(true)));
  EXPECT_TRUE(Refused("triton_", Int(1)));
  EXPECT_TRUE(Read("my_triton_x", kNothing).ok());
}

TEST(Classification, IsAPositiveNumber) {
  EXPECT_EQ(*ReadClassification({}), 0);
  EXPECT_EQ(*ReadClassification(One("classification", Int(5))), 5);
  for (const Set& set : {Int(0), Int(-1), Unsigned(5), Text("5"), kNothing}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadClassification(One("classification", set)).status()));
  }
}

}  // namespace
}  // namespace inferpool::modelserver
