// What a changed configuration asks of a running pool. Pure.
#pragma once

#include <string>
#include <vector>

#include "fcgi/pool/roles.h"
#include "shared/config/config.h"

namespace inferpool::fcgi {

struct ConfigChange {
  std::vector<std::string> keys;      // all that have changed
  std::vector<std::string> at_start;  // those that only a new start can change
  std::vector<std::string> nginx;     // those that nginx has to be told of
  std::vector<int> roll;              // the roles whose processes have to be replaced

  // "changed: workers, predict.iou", for people.
  std::string Describe() const;
};

ConfigChange Compare(const RoleTable& roles, const Config& before, const Config& after);

}  // namespace inferpool::fcgi
