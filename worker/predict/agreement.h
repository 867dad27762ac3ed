// How well two models agree about one picture. Pure.
#pragma once

#include <string>
#include <vector>

#include "shared/board/route_counts.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

// What a model has found, and the names of its classes, by which classes of two models are one.
struct Named {
  const vision::Result& result;
  const std::vector<std::string>& class_names;
};

// Detections of one class that overlap by half (intersection over union) are a pair, the most
// overlapping first; classifications when their best classes are one; lines of text when they are
// the same. An embedding is not compared.
Agreement Compare(const Named& primary, const Named& shadow);

}  // namespace inferpool::predict
