#include "tests/unit/modelserver/engines/tiny_onnx.h"

#include "tests/unit/modelserver/engines/onnx_net.h"

namespace inferpool::modelserver {

std::string MakeTinyOnnx(const TinyOnnx& wanted) {
  OnnxNet net;
  net.Input("x", OnnxElement::kFloat, {wanted.batch, 2, 4})
      .Node("Add", {"x", "x"}, {"sum"})
      .Integers("flat_shape", wanted.flat_shape)
      .Node("Reshape", {"sum", "flat_shape"}, {"flat"})
      .Output("sum", OnnxElement::kFloat, {wanted.batch, 2, 4})
      .Output("flat", OnnxElement::kFloat, {wanted.batch, 8});
  if (!wanted.names.empty()) {
    net.Metadata("names", wanted.names);
  }
  return net.Bytes(12);
}

}  // namespace inferpool::modelserver
