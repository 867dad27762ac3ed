// Decodes the answer of a line recogniser that was trained with connectionist temporal
// classification ("CTC": Graves et al., 2006): for each step along the line the probabilities of
// all characters and of the blank. Pure.
#pragma once

#include <absl/status/statusor.h>

#include <span>
#include <string>

#include "worker/vision/output_numbers.h"

namespace inferpool::vision {

struct TextLine {
  std::string text;      // UTF-8
  float confidence = 0;  // 0 to 1; 0 when there is no text
};

// Takes the most probable class of each step of `steps`, [steps, classes]; a run of the same class
// counts once, and blanks are left out. The classes are the blank, then the characters of
// `dictionary`, then, if there is one class more, the space, as PaddleOCR has them. Spaces (also
// U+3000) at both ends are dropped, because a recogniser sees them in a picture's margins. The confidence is the
// mean over the characters that are left of the probability at the first step of each.
//
// With `logits`, each step goes through softmax first. INTERNAL: the number of classes is not that
// of the dictionary, or a step is not a distribution of probability.
absl::StatusOr<TextLine> DecodeTextLine(const Numbers& steps,
                                        std::span<const std::string> dictionary, bool logits);

}  // namespace inferpool::vision
