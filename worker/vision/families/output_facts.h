// What a model's description says of its outputs, as the families look at it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <opencv2/core/types.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/model_description.h"
#include "worker/vision/families/plan.h"
#include "worker/vision/families/unsupported_model.h"

namespace inferpool::vision {

struct OutputFact {
  const TensorSpec* spec = nullptr;
  Shape row;  // one picture's part: without the batch
  bool is_float = false;
};

struct KeypointShape {
  std::size_t count = 0;
  std::size_t values = 0;  // 2: x, y; 3: x, y, confidence
};

struct OutputFacts {
  const ModelDescription& model;
  std::vector<OutputFact> outputs;
  std::int64_t names = 0;  // how many class names there are; 0: unknown
  cv::Size input;          // the input's; empty when any
  // From the parameters, where the model server puts the metadata of the model's file.
  std::string task;  // detect, segment, pose, obb, classify; else empty
  std::string head;  // the name of the net's last layer, in small letters
  // The net suppresses duplicates itself. Where it does not, the export may do so all the same.
  bool end2end = false;
  std::optional<KeypointShape> keypoints;  // kpt_shape
  std::optional<bool> normalized_boxes;    // box_coordinates

  // The output of that name; null when there is none.
  const OutputFact* Find(std::string_view name) const;
  // The floating-point outputs whose row has so many dimensions.
  std::vector<const OutputFact*> OfRank(std::size_t rank) const;
  // The one floating-point output whose row is a table of two dimensions; null when there is none,
  // or several.
  const OutputFact* Table() const;
  // The one floating-point output whose row is a vector, apart from lengths of 1; null when there
  // is none, or several.
  const OutputFact* Vector() const;
};

// Reads them. `plan` has the input.
OutputFacts FactsOf(const ModelDescription& model, const ModelPlan& plan,
                    std::optional<bool> normalized_boxes);

// As output.row, for a family that is known to need so many dimensions: a leading length that could
// be a batch is kept when it is needed, and leading 1s are dropped. nullopt when it cannot be.
std::optional<Shape> RowOfRank(const OutputFacts& facts, const OutputFact& output,
                               std::size_t rank);

// Whether a YOLO of `per_cell` anchors for each cell, in grids of the usual strides (8, 16 and 32;
// besides these 4 or 64; or 16 and 32), has so many anchors for an input of that size.
bool FitsGrids(std::int64_t anchors, cv::Size input, int per_cell);

// "output0 FP32 [1, 84, 8400], ..."
std::string OutputsText(const ModelDescription& model);

}  // namespace inferpool::vision
