// What is wrong with a member of an object in the configuration.
#pragma once

#include <cstddef>
#include <string>

namespace inferpool {

struct MemberProblem {
  std::ptrdiff_t offset;  // of the value in the text
  std::string key;        // "models.net.class_names"
  std::string message;
};

}  // namespace inferpool
