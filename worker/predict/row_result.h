// What a model says of one row.
#pragma once

#include "shared/base/status.h"
#include "worker/backend/request_batcher.h"
#include "worker/vision/postprocess.h"

namespace inferpool::predict {

// The result, in the picture's pixels. `placement`: of the row.
absl::StatusOr<vision::Result> ReadRow(const vision::ModelPlan& plan, const backend::RowAnswer& row,
                                       const vision::Placement& placement,
                                       const vision::Options& options);

}  // namespace inferpool::predict
