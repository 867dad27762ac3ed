#include "modelserver/engines/onnx/evaluate.h"
#include "modelserver/engines/onnx/operands.h"

#include "tests/unit/modelserver/engines/onnx/text.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

using Dims = std::vector<std::int64_t>;
using Numbers = std::vector<double>;

constexpr auto kFloat = onnx::TensorProto::FLOAT;
constexpr auto kInt = onnx::TensorProto::INT64;
constexpr auto kBool = onnx::TensorProto::BOOL;

Value Ints(Dims dims, Numbers numbers) {
  return {.type = kInt, .dims = std::move(dims), .numbers = std::move(numbers)};
}

Value Floats(Dims dims, Numbers numbers) {
  return {.type = kFloat, .dims = std::move(dims), .numbers = std::move(numbers)};
}

// What `node`, as text, makes of `inputs`.
std::optional<Value> Make(const std::string& node, const std::vector<Value>& inputs) {
  onnx::NodeProto parsed;
  const auto status = onnx::OnnxParser::Parse(parsed, ("y = " + node).c_str());
  EXPECT_TRUE(status.IsOK()) << status.ErrorMessage();
  std::vector<const Value*> pointers;
  for (const Value& input : inputs) {
    pointers.push_back(&input);
  }
  return Evaluate(parsed, pointers);
}

void ExpectValue(const std::optional<Value>& value, const Value& expected) {
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->type, expected.type);
  EXPECT_EQ(value->dims, expected.dims);
  EXPECT_EQ(value->numbers, expected.numbers);
}

const Value kSquare = Ints({2, 3}, {1, 2, 3, 4, 5, 6});

TEST(Evaluate, ArithmeticBroadcastsAndRoundsAsItsTypeDoes) {
  ExpectValue(Make("Add(a, b)", {kSquare, Ints({2, 1}, {10, 20})}),
              Ints({2, 3}, {11, 12, 13, 24, 25, 26}));
  ExpectValue(Make("Div(a, b)", {Ints({3}, {7, -7, 8}), Ints({}, {2})}), Ints({3}, {3, -3, 4}));
  ExpectValue(Make("Mul(a, b)", {Floats({1}, {0.1F}), Floats({1}, {3})}),
              Floats({1}, {0.1F * 3.0F}));
  ExpectValue(Make("Equal(a, b)", {Ints({2}, {1, -1}), Ints({}, {-1})}),
              {.type = kBool, .dims = {2}, .numbers = {0, 1}});
  ExpectValue(Make("Sqrt(a)", {Floats({1}, {2})}), Floats({1}, {std::sqrt(2.0F)}));
  EXPECT_FALSE(Make("Div(a, b)", {Ints({1}, {1}), Ints({1}, {0})}).has_value());
  EXPECT_FALSE(Make("Add(a, b)", {Ints({2}, {1, 1}), Ints({3}, {1, 1, 1})}).has_value());
  EXPECT_FALSE(Make("Add(a, b)", {Ints({1}, {1}), Floats({1}, {1})}).has_value());
  EXPECT_FALSE(Make("Mul(a, b)", {Ints({1}, {1e15}), Ints({1}, {1e15})}).has_value());
}

TEST(Evaluate, SlicesAreCutToTheTensor) {
  const Value one = Ints({1}, {1});
  ExpectValue(Make("Slice(d, s, e, a)", {kSquare, one, Ints({1}, {9.3e18}), one}),
              Ints({2, 2}, {2, 3, 5, 6}));
  ExpectValue(Make("Slice(d, s, e, a, p)",
                   {kSquare, Ints({1}, {-3}), Ints({1}, {-1}), one, Ints({1}, {2})}),
              Ints({2, 1}, {1, 4}));
  ExpectValue(Make("Slice(d, s, e)", {kSquare, Ints({2}, {1, 2}), Ints({2}, {1, 3})}),
              Ints({0, 1}, {}));
  EXPECT_FALSE(
      Make("Slice(d, s, e, a, p)", {kSquare, Ints({1}, {2}), Ints({1}, {0}), one, Ints({1}, {-1})})
          .has_value());
  EXPECT_FALSE(Make("Slice(d, s, e, a)", {kSquare, one, one, Ints({1}, {2})}).has_value());
}

TEST(Evaluate, ElementsArePicked) {
  ExpectValue(Make("Gather<axis = 1>(d, i)", {kSquare, Ints({2}, {2, -3})}),
              Ints({2, 2}, {3, 1, 6, 4}));
  ExpectValue(Make("Gather(d, i)", {Ints({3}, {7, 8, 9}), Ints({}, {1})}), Ints({}, {8}));
  EXPECT_FALSE(Make("Gather(d, i)", {Ints({3}, {7, 8, 9}), Ints({}, {3})}).has_value());
  ExpectValue(Make("Transpose(d)", {kSquare}), Ints({3, 2}, {1, 4, 2, 5, 3, 6}));
  EXPECT_FALSE(Make("Transpose<perm = [0, 0]>(d)", {kSquare}).has_value());
  ExpectValue(Make("Concat<axis = -1>(a, b)", {kSquare, Ints({2, 1}, {8, 9})}),
              Ints({2, 4}, {1, 2, 3, 8, 4, 5, 6, 9}));
  EXPECT_FALSE(Make("Concat<axis = 0>(a, b)", {kSquare, Ints({2, 1}, {8, 9})}).has_value());
  ExpectValue(Make("Expand(d, s)", {Ints({2, 1}, {1, 2}), Ints({3}, {2, 1, 2})}),
              Ints({2, 2, 2}, {1, 1, 2, 2, 1, 1, 2, 2}));
  ExpectValue(Make("Where(c, a, b)",
                   {{.type = kBool, .dims = {2}, .numbers = {1, 0}}, Ints({}, {5}), Ints({}, {6})}),
              Ints({2}, {5, 6}));
}

TEST(Evaluate, NothingIsPickedOutOfNothing) {
  const Value none = Ints({0}, {});
  EXPECT_FALSE(Make("Gather(d, i)", {none, Ints({3}, {0, 0, 0})}).has_value());
  EXPECT_FALSE(Make("Gather<axis = 1>(d, i)", {Ints({0, 2}, {}), Ints({1}, {2})}).has_value());
  ExpectValue(Make("Gather(d, i)", {none, none}), none);
  ExpectValue(Make("Gather<axis = 1>(d, i)", {Ints({0, 2}, {}), Ints({1}, {1})}), Ints({0, 1}, {}));
}

TEST(Evaluate, ValuesWithoutTheirNumbersAreRefused) {
  const Value hollow = Ints({3}, {});
  const Value one = Ints({3}, {1, 2, 3});
  EXPECT_FALSE(Make("Add(a, b)", {hollow, one}).has_value());
  EXPECT_FALSE(Make("Neg(a)", {hollow}).has_value());
  EXPECT_FALSE(Make("Gather(d, i)", {hollow, Ints({1}, {0})}).has_value());
  EXPECT_FALSE(Broadcast(hollow, {2, 3}).has_value());
  EXPECT_FALSE(Broadcast(one, {}).has_value());
}

TEST(Evaluate, ShapesChange) {
  ExpectValue(Make("Reshape(d, s)", {kSquare, Ints({3}, {0, -1, 1})}),
              Ints({2, 3, 1}, kSquare.numbers));
  EXPECT_FALSE(Make("Reshape(d, s)", {kSquare, Ints({1}, {5})}).has_value());
  EXPECT_FALSE(Make("Reshape(d, s)", {kSquare, Ints({2}, {-1, -1})}).has_value());
  ExpectValue(Make("Unsqueeze(d, s)", {Ints({2}, {1, 2}), Ints({2}, {0, -1})}),
              Ints({1, 2, 1}, {1, 2}));
  ExpectValue(Make("Unsqueeze<axes = [1]>(d)", {Ints({2}, {1, 2})}), Ints({2, 1}, {1, 2}));
  ExpectValue(Make("Squeeze(d)", {Ints({1, 2, 1}, {1, 2})}), Ints({2}, {1, 2}));
  EXPECT_FALSE(Make("Squeeze<axes = [1]>(d)", {Ints({1, 2, 1}, {1, 2})}).has_value());
}

TEST(Evaluate, NumbersAreMade) {
  ExpectValue(Make("Range(a, b, c)", {Ints({}, {1}), Ints({}, {6}), Ints({}, {2})}),
              Ints({3}, {1, 3, 5}));
  EXPECT_FALSE(Make("Range(a, b, c)", {Ints({}, {0}), Ints({}, {6}), Ints({}, {0})}).has_value());
  ExpectValue(Make("ConstantOfShape(s)", {Ints({2}, {1, 2})}), Floats({1, 2}, {0, 0}));
  ExpectValue(Make("Cast<to = 7>(a)", {Floats({2}, {1.9, -1.9})}), Ints({2}, {1, -1}));
  EXPECT_FALSE(Make("Cast<to = 7>(a)", {Floats({1}, {1e30})}).has_value());
  EXPECT_FALSE(Make("Cast<to = 10>(a)", {Floats({1}, {1})}).has_value());
}

TEST(Evaluate, HugeResultsAreNotMade) {
  const Value huge = Ints({2}, {1 << 20, 1 << 20});
  EXPECT_FALSE(Make("ConstantOfShape(s)", {huge}).has_value());
  EXPECT_FALSE(Make("Expand(d, s)", {Ints({1}, {1}), huge}).has_value());
  EXPECT_FALSE(
      Make("Range(a, b, c)", {Ints({}, {0}), Ints({}, {1e12}), Ints({}, {1})}).has_value());
}

TEST(Evaluate, OtherOperatorsAndDomainsAreNone) {
  EXPECT_FALSE(Make("Conv(a, b)", {kSquare, kSquare}).has_value());
  onnx::NodeProto node;
  node.set_op_type("Neg");
  node.set_domain("com.example");
  node.add_output("y");
  const Value* input = &kSquare;
  EXPECT_FALSE(Evaluate(node, {&input, 1}).has_value());
}

TEST(Values, ReadAsTheyWereWritten) {
  for (const Value& value :
       {kSquare, Floats({2}, {0.25, -1}), Value{.type = kBool, .dims = {1}, .numbers = {1}},
        Ints({1}, {9223372036854775808.0}), Floats({0}, {})}) {
    ExpectValue(ReadValue(WriteValue(value, "x")), value);
  }
  onnx::TensorProto tensor = WriteValue(kSquare, "x");
  tensor.mutable_raw_data()->pop_back();
  EXPECT_FALSE(ReadValue(tensor).has_value());
  tensor = WriteValue(kSquare, "x");
  tensor.set_dims(0, -2);
  EXPECT_FALSE(ReadValue(tensor).has_value());
}

}  // namespace
}  // namespace inferpool::modelserver::onnx_graph
