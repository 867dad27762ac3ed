// The kinds of processes of this pool. A new one is a row here (docs/development.md).
#pragma once

#include "fcgi/pool/roles.h"

namespace inferpool::ops {

const fcgi::RoleTable& PoolRoles();

}  // namespace inferpool::ops
