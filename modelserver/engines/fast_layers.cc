#include "modelserver/engines/fast_layers.h"

#include <opencv2/dnn/all_layers.hpp>
#include <opencv2/dnn/layer.hpp>
#include <string>
#include <vector>

#include "modelserver/engines/onnx/silu.h"
#include "modelserver/engines/sigmoid.h"

namespace inferpool::modelserver {
namespace {

using Function = void (*)(const float* from, float* to, std::size_t count);

// An activation: OpenCV calls forwardSlice from within the convolution before it, on what is still
// in the cache, or forward when there is none.
template <Function kFunction>
class FastActivation : public cv::dnn::ActivationLayer {
 public:
  explicit FastActivation(const cv::dnn::LayerParams& params) { setParamsFrom(params); }

  static cv::Ptr<cv::dnn::Layer> Create(cv::dnn::LayerParams& params) {
    return cv::makePtr<FastActivation>(params);
  }

  bool getMemoryShapes(const std::vector<cv::dnn::MatShape>& inputs, int /*required_outputs*/,
                       std::vector<cv::dnn::MatShape>& outputs,
                       std::vector<cv::dnn::MatShape>& /*internals*/) const override {
    outputs = inputs;
    return true;  // in place
  }

  void forward(cv::InputArrayOfArrays inputs_array, cv::OutputArrayOfArrays outputs_array,
               cv::OutputArrayOfArrays /*internals*/) override {
    std::vector<cv::Mat> inputs;
    std::vector<cv::Mat> outputs;
    inputs_array.getMatVector(inputs);
    outputs_array.getMatVector(outputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      CV_Assert(inputs[i].depth() == CV_32F && inputs[i].isContinuous() &&
                outputs[i].isContinuous() && inputs[i].total() == outputs[i].total());
      kFunction(inputs[i].ptr<float>(), outputs[i].ptr<float>(), inputs[i].total());
    }
  }

  using ActivationLayer::forwardSlice;
  void forwardSlice(const float* from, float* to, int count, std::size_t plane, int first_channel,
                    int end_channel) const override {
    for (int channel = first_channel; channel < end_channel; ++channel) {
      kFunction(from, to, static_cast<std::size_t>(count));
      from += plane;
      to += plane;
    }
  }
};

}  // namespace

void RegisterFastLayers() {
  static const bool once = [] {
    using cv::dnn::LayerFactory;
    LayerFactory::registerLayer(std::string(onnx_graph::kSiluLayer), FastActivation<Silu>::Create);
    LayerFactory::registerLayer(std::string(onnx_graph::kSigmoidLayer),
                                FastActivation<Sigmoid>::Create);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace inferpool::modelserver
