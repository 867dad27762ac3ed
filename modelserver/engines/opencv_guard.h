// Turns the exceptions that OpenCV throws into a Status, which is what engines return.
#pragma once

#include <exception>
#include <new>
#include <opencv2/core.hpp>
#include <string>
#include <utility>

#include "shared/base/status.h"

namespace inferpool::modelserver {

// Returns what `call` returns, a Status or StatusOr. When it throws, RESOURCE_EXHAUSTED if there
// was not enough memory, otherwise INTERNAL with OpenCV's text.
template <typename Call>
auto GuardOpenCv(Call&& call) -> decltype(call()) {
  try {
    return std::forward<Call>(call)();
  } catch (const cv::Exception& error) {
    if (error.code == cv::Error::StsNoMem) {
      return absl::ResourceExhaustedError("OpenCV: " + error.err);
    }
    return absl::InternalError("OpenCV: " + error.err + " (" + error.func + ")");
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(std::string("OpenCV: ") + error.what());
  }
}

}  // namespace inferpool::modelserver
