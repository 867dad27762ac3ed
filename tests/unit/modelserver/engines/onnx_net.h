// Writes small ONNX files for tests, as protobuf's wire format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace inferpool::modelserver {

// The numbers of TensorProto.DataType that the tests use.
enum class OnnxElement : std::uint64_t {
  kFloat = 1,
  kUint8 = 2,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16,
};

class OnnxNet {
 public:
  using Shape = std::vector<std::int64_t>;

  // An open dimension (-1) is named "batch" when it is the first one, otherwise "dN".
  OnnxNet& Input(std::string_view name, OnnxElement type, const Shape& shape);
  OnnxNet& Output(std::string_view name, OnnxElement type, const Shape& shape);

  struct Attribute {
    std::string name;
    std::vector<std::int64_t> ints = {};
    std::int64_t integer = 0;  // when there are no ints
  };
  OnnxNet& Node(std::string_view operation, const std::vector<std::string>& inputs,
                const std::vector<std::string>& outputs,
                const std::vector<Attribute>& attributes = {});

  // A constant; `raw` has its elements' bytes.
  OnnxNet& Constant(std::string_view name, OnnxElement type, const Shape& shape,
                    std::string_view raw);
  OnnxNet& Integers(std::string_view name, const std::vector<std::int64_t>& values);
  // A constant whose bytes are in another file.
  OnnxNet& External(std::string_view name, OnnxElement type, const Shape& shape,
                    std::string_view file);

  OnnxNet& Metadata(std::string_view key, std::string_view value);

  // The file's bytes.
  std::string Bytes(std::uint64_t opset = 17) const;

 private:
  std::string graph_;
  std::string metadata_;
};

// The bytes of one entry of a file's metadata, to be appended to the file.
std::string OnnxMetadata(std::string_view key, std::string_view value);

}  // namespace inferpool::modelserver
