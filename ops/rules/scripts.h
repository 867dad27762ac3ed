// The scripts of the rules (ops/rules/scripts). Each says in its head what it takes and returns.
#pragma once

#include "shared/redis/redis.h"

namespace inferpool::rules {

const streams::Script& OwnScript();
const streams::Script& NoteScript();

}  // namespace inferpool::rules
