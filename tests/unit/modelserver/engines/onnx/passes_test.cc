// The structure each pass leaves. That the answers are right is tested where OpenCV gives them:
// engines/opencv_dnn_test.cc and yolo_exports_test.cc.

#include <gtest/gtest.h>

#include "modelserver/engines/onnx/constant_dividends.h"
#include "modelserver/engines/onnx/constant_folding.h"
#include "modelserver/engines/onnx/constant_operands.h"
#include "modelserver/engines/onnx/identities.h"
#include "modelserver/engines/onnx/input_shapes.h"
#include "modelserver/engines/onnx/rewrite.h"
#include "modelserver/engines/onnx/silu.h"
#include "modelserver/engines/onnx/split_sizes.h"
#include "modelserver/engines/onnx/unused.h"
#include "tests/unit/modelserver/engines/onnx/text.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

using Dims = std::vector<std::int64_t>;

Dims InputShape(const onnx::GraphProto& graph) {
  return KnownShape(graph.input(0).type()).value_or(Dims{-1});
}

TEST(SetInputShapes, FillsWhatTheFileLeavesOpen) {
  auto model = ParseModel("g (float[N,3,H,4] x) => (float[N] y) { y = Neg(x) }");
  SetInputShapes({{"x", {1, 3, 2, 4}}}, *model.mutable_graph());
  EXPECT_EQ(InputShape(model.graph()), (Dims{1, 3, 2, 4}));
}

TEST(SetInputShapes, LeavesAloneWhatIsUnknownOrContradicts) {
  for (const Dims& shape : {Dims{1, 3, -1, 4}, Dims{1, 2, 2, 4}, Dims{1, 3, 4}, Dims{0, 3, 2, 4}}) {
    auto model = ParseModel("g (float[N,3,H,4] x) => (float[N] y) { y = Neg(x) }");
    SetInputShapes({{"x", shape}}, *model.mutable_graph());
    EXPECT_EQ(InputShape(model.graph()), Dims{-1});
  }
}

TEST(RemoveIdentities, AlsoInARowAndOfInitializers) {
  auto model = ParseModel(R"(g (float[2] x) => (float[2] y) {
      c = Constant<value = float[2] {1.0, 2.0}>()
      a = Identity(c)
      b = Identity(a)
      y = Add(x, b) })");
  RemoveIdentities(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "y = Add(x, c)\n");
}

TEST(RemoveIdentities, AnOutputKeepsItsName) {
  auto model = ParseModel("g (float[2] x) => (float[2] y) { y = Identity(x) }");
  RemoveIdentities(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "y = Identity(x)\n");
}

TEST(RemoveUnused, KeepsWhatTheWantedOutputsNeed) {
  auto model = ParseModel(R"(g (float[2] x) => (float[2] y, float[2] z) {
      c = Constant<value = float[1] {1.0}>()
      d = Constant<value = float[1] {1.0}>()
      a = Add(x, c)
      y = Neg(a)
      b = Add(x, d)
      z = Neg(b) })");
  const std::vector<std::string> wanted = {"y"};
  RemoveUnused(wanted, *model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "a = Add(x, c)\ny = Neg(a)\n");
  ASSERT_EQ(model.graph().output_size(), 1);
  EXPECT_EQ(model.graph().output(0).name(), "y");
  ASSERT_EQ(model.graph().initializer_size(), 1);
  EXPECT_EQ(model.graph().input_size(), 1);
}

// torch's `chunk`, as it is exported.
constexpr char kChunk[] = R"(g (float[N,4,2] x) => (float[N,2,2] y) {
    one = Constant<value = int64[1] {1}>()
    two = Constant<value = int64[1] {2}>()
    zero = Constant<value = int64[1] {0}>()
    shape = Shape(x)
    size = Gather<axis = 0>(shape, one)
    sum = Add(size, one)
    half = Div(sum, two)
    end = Mul(half, one)
    part = Slice(x, zero, end, one)
    y = Neg(part) })";

TEST(FoldConstants, ComputesSizesOfKnownShapes) {
  auto model = ParseModel(kChunk);
  SetInputShapes({{"x", {1, 4, 2}}}, *model.mutable_graph());
  ASSERT_TRUE(FoldConstants(model).ok());
  EXPECT_EQ(Nodes(model.graph()), "part = Slice(x, zero, end, one)\ny = Neg(part)\n");
  EXPECT_EQ(Constants(model.graph())["end"].numbers, std::vector<double>{2});
  EXPECT_EQ(KnownShape(model.graph().output(0).type()), (Dims{1, 2, 2}));
}

TEST(FoldConstants, LeavesSizesOfUnknownShapes) {
  auto model = ParseModel(kChunk);
  const std::string before = Nodes(model.graph());
  ASSERT_TRUE(FoldConstants(model).ok());
  EXPECT_EQ(Nodes(model.graph()), before);
}

TEST(FoldConstants, AnOutputStaysANode) {
  auto model = ParseModel("g (float[1,2] x) => (int64[2] y) { y = Shape(x) }");
  ASSERT_TRUE(FoldConstants(model).ok());
  EXPECT_EQ(Nodes(model.graph()), "y = Shape(x)\n");
}

TEST(FoldConstants, RefusesNodesThatContradictTheirOperator) {
  for (const char* nodes :
       {"y = Concat<axis = 5>(x, x)", "y, z = Split<axis = 0>(x)", "y = Concat<axis = 0>()"}) {
    auto model = ParseModel("g (float[1,2] x) => (float[1,2] y) { " + std::string(nodes) + " }");
    EXPECT_EQ(FoldConstants(model).code(), absl::StatusCode::kInvalidArgument) << nodes;
  }
}

TEST(FoldConstants, StopsAtABoundedAmountOfWork) {
  std::string text =
      "g (float[1] x) => (float[1] y) {\n"
      "  n = Constant<value = int64[2] {1024, 1024}>()\n  c0 = ConstantOfShape(n)\n";
  for (int i = 0; i < 500; ++i) {
    text += "c" + std::to_string(i + 1) + " = Neg(c" + std::to_string(i) + ")\n";
  }
  auto model = ParseModel(text + "  y = Add(x, c500) }");
  ASSERT_TRUE(FoldConstants(model).ok());
  EXPECT_GT(model.graph().node_size(), 400);
}

std::string WithOperand(const std::string& shape, const std::string& constant,
                        const std::string& node) {
  return "g (float[" + shape + "] x) => (float[" + shape +
         "] y) {\n  c = Constant<value = " + constant + ">()\n  y = " + node + " }";
}

// The operand's dimensions after the pass; empty when the pass left it.
Dims Expanded(const std::string& shape, const std::string& constant, const std::string& node) {
  auto model = ParseModel(WithOperand(shape, constant, node));
  ExpandConstantOperands(*model.mutable_graph());
  const auto constants = Constants(model.graph());
  const auto found = constants.find("c_expanded");
  return found == constants.end() ? Dims{} : found->second.dims;
}

TEST(ExpandConstantOperands, WhereADimensionIsBroadcastBeforeOneThatIsNot) {
  EXPECT_EQ(Expanded("1,4,2", "float[1,2] {1.0, 2.0}", "Mul(x, c)"), (Dims{1, 4, 2}));
  EXPECT_EQ(Expanded("1,4,2", "float[2] {1.0, 2.0}", "Sub(c, x)"), (Dims{1, 4, 2}));
  EXPECT_EQ(Expanded("1,2,3,2", "float[1,1,3,1] {1.0, 2.0, 3.0}", "Add(x, c)"), (Dims{1, 2, 3, 2}));
}

TEST(ExpandConstantOperands, NotWhatOpenCvCanDoOrTheShapeDoesNotAllow) {
  EXPECT_EQ(Expanded("1,2,3", "float[2,1] {1.0, 2.0}", "Mul(x, c)"), Dims{});
  EXPECT_EQ(Expanded("1,2,3", "float[1] {1.0}", "Mul(x, c)"), Dims{});
  EXPECT_EQ(Expanded("1,1,3", "float[2,3] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}", "Mul(x, c)"), Dims{});
  EXPECT_EQ(Expanded("1,2,3", "float[1,2] {1.0, 2.0}", "Mul(x, c)"), Dims{});
  EXPECT_EQ(Expanded("1,N,2", "float[1,2] {1.0, 2.0}", "Mul(x, c)"), Dims{});
  EXPECT_EQ(Expanded("1,4,2", "float[1,2] {1.0, 2.0}", "Pow(x, c)"), Dims{});
}

TEST(RewriteConstantDividends, MultipliesByTheReciprocal) {
  auto model = ParseModel(WithOperand("1,2", "float[2] {1.0, 2.0}", "Div(c, x)"));
  RewriteConstantDividends(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "x_reciprocal = Reciprocal(x)\ny = Mul(c, x_reciprocal)\n");
}

TEST(RewriteConstantDividends, LeavesOtherDivisions) {
  for (const char* node : {"Div(x, c)", "Div(x, x)", "Mul(c, x)"}) {
    auto model = ParseModel(WithOperand("1,2", "float[2] {1.0, 2.0}", node));
    RewriteConstantDividends(*model.mutable_graph());
    EXPECT_EQ(Nodes(model.graph()), "y = " + std::string(node) + "\n");
  }
  auto model = ParseModel(WithOperand("1,2", "float[1] {1.0}", "Div(c, x)"));
  RewriteConstantDividends(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "y = Div(c, x)\n");
}

TEST(WriteSplitSizes, AsTheAttribute) {
  auto model = ParseModel(R"(g (float[1,5] x) => (float[1,2] y, float[1,3] z) {
      c = Constant<value = int64[2] {2, 3}>()
      y, z = Split<axis = 1>(x, c) })",
                          13);
  WriteSplitSizes(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "y, z = Split(x)\n");
  EXPECT_EQ(IntsAttribute(model.graph().node(0), "split"), (Dims{2, 3}));
}

TEST(WriteSplitSizes, NotWhenTheyAreComputedOrOfAnotherCount) {
  auto model = ParseModel(R"(g (float[1,5] x, int64[2] c) => (float[1,2] y, float[1,3] z) {
      d = Constant<value = int64[1] {5}>()
      y, z = Split<axis = 1>(x, c)
      u, v = Split<axis = 1>(x, d) })",
                          13);
  const std::string before = Nodes(model.graph());
  WriteSplitSizes(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), before);
}

TEST(UseFastSigmoids, OneNodeForSilu) {
  auto model = ParseModel(R"(g (float[1,5] x) => (float[1,5] y) {
      s = Sigmoid(x)
      a = Mul(x, s)
      t = Sigmoid(a)
      y = Mul(t, a) })");
  UseFastSigmoids(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()), "a = InferpoolSilu(x)\ny = InferpoolSilu(a)\n");
}

TEST(UseFastSigmoids, NotWhenTheSigmoidIsWantedElsewhereOrOfSomethingElse) {
  auto model = ParseModel(R"(g (float[1,5] x, float[1,5] w) => (float[1,5] y, float[1,5] s) {
      s = Sigmoid(x)
      a = Mul(x, s)
      t = Sigmoid(w)
      y = Mul(a, t) })");
  UseFastSigmoids(*model.mutable_graph());
  EXPECT_EQ(Nodes(model.graph()),
            "s = InferpoolSigmoid(x)\na = Mul(x, s)\nt = InferpoolSigmoid(w)\ny = Mul(a, t)\n");
}

std::string WhyInvalid(const onnx::ModelProto& model) {
  return std::string(Message(CheckModel(model)));
}

TEST(CheckModel, RefusesWhatIsNotInOrder) {
  EXPECT_EQ(WhyInvalid(ParseModel("g (float[1] x) => (float[1] y) { a = Add(x, b) b = Neg(a) "
                                  "y = Neg(b) }")),
            "node '' (Add) uses 'b', which nothing before it makes");
  EXPECT_EQ(WhyInvalid(ParseModel("g (float[1] x) => (float[1] y) { y = Neg(x) y = Neg(x) }")),
            "node '' (Neg) makes 'y', which there is already");
  EXPECT_EQ(WhyInvalid(ParseModel("g (float[1] x) => (float[1] z) { y = Neg(x) }")),
            "nothing makes the output 'z'");
}

TEST(CheckModel, RefusesDivisorsOfZero) {
  for (const char* attribute : {"strides = [1, 0]", "kernel_shape = [0, 1]", "group = 0"}) {
    EXPECT_NE(WhyInvalid(ParseModel("g (float[1,1,4,4] x, float[1,1,1,1] w) => (float[N] y) { y = "
                                    "Conv<" +
                                    std::string(attribute) + ">(x, w) }")),
              "");
  }
}

TEST(CheckModel, RefusesConstantsThatHoldLessThanTheySay) {
  auto model = ParseModel(WithOperand("1,2", "float[2] {1.0, 2.0}", "Mul(c, x)"));
  EXPECT_EQ(WhyInvalid(model), "");
  model.mutable_graph()->mutable_initializer(0)->set_dims(0, 1'000'000);
  EXPECT_EQ(WhyInvalid(model), "the constant 'c' holds 8 bytes, its dimensions say 4000000");
  model.mutable_graph()->mutable_initializer(0)->set_dims(0, -2);
  EXPECT_EQ(WhyInvalid(model), "the constant 'c' has a dimension of -2");
}

TEST(Rewriting, RefusesTensorsBeyondMeasure) {
  auto model = ParseModel(
      "g (float[1,1,2,2] x) => (float[1,1,N,M] y) { "
      "a = MaxPool<kernel_shape = [1, 1], pads = [0, 0, 1000000, 1000000]>(x) y = Neg(a) }");
  const std::vector<std::string> outputs = {"y"};
  EXPECT_EQ(Message(RewriteForOpenCv({}, outputs, model)),
            "the tensor 'a' has over 134217728 elements");
}

TEST(CheckModel, RefusesTooManyNodes) {
  onnx::ModelProto model;
  for (int i = 0; i <= kMaxNodes; ++i) {
    model.mutable_graph()->add_node();
  }
  EXPECT_EQ(WhyInvalid(model), "20001 nodes, allowed are 20000");
}

TEST(Rewriting, LeavesAGraphWithGraphsInItAlone) {
  auto model = ParseModel("g (float[1] x) => (float[1] y) { a = Identity(x) y = Neg(a) }");
  onnx::AttributeProto& attribute = *model.mutable_graph()->mutable_node(1)->add_attribute();
  attribute.set_name("body");
  attribute.mutable_g()->set_name("inner");
  const std::vector<std::string> outputs = {"y"};
  ASSERT_TRUE(RewriteForOpenCv({}, outputs, model).ok());
  EXPECT_EQ(Nodes(model.graph()), "a = Identity(x)\ny = Neg(a)\n");
}

}  // namespace
}  // namespace inferpool::modelserver::onnx_graph
