// Whatever a file says, rewriting it ends with a status.

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <random>

#include "modelserver/engines/onnx/rewrite.h"
#include "tests/unit/modelserver/engines/onnx/text.h"

namespace inferpool::modelserver::onnx_graph {
namespace {

// Every operator that is folded, with constants; the tail is what the other passes look for.
constexpr const char* kModel = R"(g (float[1,4,2,2] x) => (float[1,4,2,2] y, float[N] z) {
    zero = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    two = Constant<value = int64[1] {2}>()
    s0 = Constant<value = int64 {0}>()
    s4 = Constant<value = int64 {4}>()
    s1 = Constant<value = int64 {1}>()
    scale = Constant<value = float[2] {2.0, 3.0}>()
    halves = Constant<value = int64[2] {2, 2}>()
    size = Shape(x)
    channels = Gather<axis = 0>(size, one)
    half = Div(channels, two)
    rest = Sub(channels, half)
    ends = Add(half, rest)
    cut = Slice(size, zero, ends, zero, one)
    flat = Squeeze<axes = [0]>(half)
    wide = Unsqueeze<axes = [0]>(flat)
    pair = Concat<axis = 0>(wide, half)
    steps = Range(s0, s4, s1)
    grid = Reshape(steps, pair)
    turned = Transpose<perm = [1, 0]>(grid)
    large = Expand(turned, halves)
    filled = ConstantOfShape(pair)
    same = Equal(large, grid)
    chosen = Where(same, large, grid)
    numbers = Cast<to = 1>(chosen)
    root = Sqrt(numbers)
    sum = Mul(root, filled)
    a, b = Split<axis = 1, split = [2, 2]>(x)
    joined = Concat<axis = 1>(b, a)
    again = Identity(joined)
    gate = Sigmoid(again)
    silu = Mul(again, gate)
    scaled = Mul(silu, scale)
    moved = Add(scaled, sum)
    y = Div(scale, moved)
    z = Reshape(moved, cut) })";

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  void Change(onnx::ModelProto& model) {
    onnx::GraphProto& graph = *model.mutable_graph();
    switch (Below(8)) {
      case 0:
      case 1:
        return ChangeConstant(Any(*graph.mutable_initializer()));
      case 2:
      case 3:
        return ChangeInputs(Any(*graph.mutable_node()), graph);
      case 4:
      case 5:
        return ChangeAttributes(Any(*graph.mutable_node()));
      case 6:
        return Any(*graph.mutable_node()).set_op_type(Any(*graph.mutable_node()).op_type());
      default:
        return ChangeInputShape(*graph.mutable_input(0));
    }
  }

  // Most dimensions stay, so that more than the first check is met.
  std::int64_t Number() {
    constexpr std::array<std::int64_t, 14> kNumbers = {0,
                                                       0,
                                                       1,
                                                       2,
                                                       3,
                                                       4,
                                                       -1,
                                                       -2,
                                                       1 << 20,
                                                       1 << 27,
                                                       std::int64_t{1} << 40,
                                                       -(std::int64_t{1} << 40),
                                                       std::numeric_limits<std::int64_t>::max(),
                                                       std::numeric_limits<std::int64_t>::min()};
    return kNumbers[Below(kNumbers.size())];
  }

 private:
  std::size_t Below(std::size_t end) { return random_() % end; }

  template <typename List>
  typename List::value_type& Any(List& list) {
    return list[static_cast<int>(Below(static_cast<std::size_t>(list.size())))];
  }

  // Mostly with as many numbers as the dimensions say: CheckModel refuses others.
  void ChangeConstant(onnx::TensorProto& tensor) {
    constexpr std::array kTypes = {onnx::TensorProto::INT64, onnx::TensorProto::FLOAT,
                                   onnx::TensorProto::BOOL};
    const std::string name = tensor.name();
    if (Below(8) == 0) {
      tensor.add_dims(Number());
      return;
    }
    Value value{.type = Below(3) == 0 ? kTypes[Below(kTypes.size())] : tensor.data_type(),
                .dims = {},
                .numbers = {}};
    std::size_t count = 1;
    for (std::size_t rank = Below(4); rank > 0; --rank) {
      value.dims.push_back(static_cast<std::int64_t>(Below(5)));
      count *= static_cast<std::size_t>(value.dims.back());
    }
    for (; count > 0; --count) {
      value.numbers.push_back(
          value.type == onnx::TensorProto::BOOL ? 1.0 : static_cast<double>(Number()));
    }
    tensor = WriteValue(value, name);
  }

  void ChangeInputs(onnx::NodeProto& node, onnx::GraphProto& graph) {
    const std::size_t kind = Below(6);
    if (kind == 0 || node.input_size() == 0) {
      node.add_input(Any(*graph.mutable_initializer()).name());
    } else if (kind == 1) {
      node.mutable_input()->RemoveLast();
    } else if (kind == 2) {
      Any(*node.mutable_input()).clear();
    } else if (kind == 3) {
      const onnx::NodeProto& other = Any(*graph.mutable_node());
      Any(*node.mutable_input()) = other.output(0);
    } else {
      Any(*node.mutable_input()) = Any(*graph.mutable_initializer()).name();
    }
  }

  void ChangeAttributes(onnx::NodeProto& node) {
    constexpr std::array kNames = {"axis", "axes", "perm", "to", "shape", "starts", "split", ""};
    if (Below(4) == 0 && node.attribute_size() > 0) {
      node.mutable_attribute()->RemoveLast();
      return;
    }
    onnx::AttributeProto& attribute = node.attribute_size() > 0 && Below(4) != 0
                                          ? Any(*node.mutable_attribute())
                                          : *node.add_attribute();
    if (attribute.name().empty()) {
      attribute.set_name(kNames[Below(kNames.size())]);
    }
    switch (Below(4)) {
      case 0:
        attribute.set_type(onnx::AttributeProto::INT);
        attribute.set_i(Number());
        break;
      case 1:
        attribute.set_type(onnx::AttributeProto::INTS);
        attribute.add_ints(Number());
        break;
      case 2:
        attribute.clear_i();
        attribute.clear_ints();
        attribute.set_type(onnx::AttributeProto::STRING);
        attribute.set_s("axis");
        break;
      default:
        if (attribute.ints_size() > 0) {
          Any(*attribute.mutable_ints()) = Number();
        }
        break;
    }
  }

  void ChangeInputShape(onnx::ValueInfoProto& input) {
    auto& dims = *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim();
    if (dims.size() == 0 || Below(4) == 0) {
      dims.Add()->set_dim_value(Number());
    } else if (Below(4) == 0) {
      dims.RemoveLast();
    } else {
      Any(dims).set_dim_value(Number());
    }
  }

  std::mt19937 random_;
};

TEST(Mutations, TheModelThatIsChangedIsAGoodOne) {
  auto model = ParseModel(kModel);
  const std::vector<std::string> outputs = {"y", "z"};
  const absl::Status status = RewriteForOpenCv({{"x", {1, 4, 2, 2}}}, outputs, model);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Constants(model.graph()).contains("sum_expanded")) << Nodes(model.graph());
}

TEST(Mutations, EndWithAStatus) {
  const auto original = ParseModel(kModel);
  const std::vector<std::string> outputs = {"y", "z"};
  int rewritten = 0;
  for (unsigned seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE(seed);
    Mutator mutator(seed);
    auto model = original;
    for (unsigned changes = 1 + seed % 3; changes > 0; --changes) {
      mutator.Change(model);
    }
    const InputShapes shapes = {{"x", {1, 4, 2, seed % 2 == 0 ? 2 : mutator.Number()}}};
    const absl::Status status = RewriteForOpenCv(shapes, outputs, model);
    rewritten += status.ok() ? 1 : 0;
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    }
  }
  EXPECT_GT(rewritten, 30) << "the changes are all refused at once";
  EXPECT_LT(rewritten, 570);
}

// A file of 200 bytes that ended the server: three elements of a tensor that has none.
TEST(Mutations, ElementsOfAnEmptyTensor) {
  auto model = ParseModel(R"(g (float[1,3] x) => (float[1,3] y) {
      c = Constant<value = float[3] {1.0, 2.0, 3.0}>()
      i = Constant<value = int64[3] {0, 0, 0}>()
      g = Gather(d, i)
      h = Add(g, c)
      y = Add(x, h) })");
  onnx::TensorProto& empty = *model.mutable_graph()->add_initializer();
  empty.set_name("d");
  empty.set_data_type(onnx::TensorProto::FLOAT);
  empty.add_dims(0);
  const std::vector<std::string> outputs = {"y"};
  static_cast<void>(RewriteForOpenCv({{"x", {1, 3}}}, outputs, model));
  EXPECT_FALSE(Constants(model.graph()).contains("h"));
}

}  // namespace
}  // namespace inferpool::modelserver::onnx_graph
