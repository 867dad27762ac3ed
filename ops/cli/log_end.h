// The end of nginx's access log. On a disk without room nginx writes the part of a line that still
// fits, and the line after it, when there is room again, would go on where that ended.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

namespace inferpool::ops {

class LogEnd {
 public:
  explicit LogEnd(std::string path) : path_(std::move(path)) {}

  // Takes away the part of a line that the log ends with, if it does. To be called once a second:
  // costs a look at the file's size, and reads the end of one that has changed. Whoever writes must
  // write whole lines, each in one call. Never follows a link.
  void Mend();

 private:
  const std::string path_;
  off_t whole_ = 0;  // the size at which the log ended with a whole line
};

}  // namespace inferpool::ops
