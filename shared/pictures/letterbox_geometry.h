// Where a letterboxed picture comes to lie in a model's input. Workers and the model server place
// pictures by this rule, so the boxes of either find their way back.
#pragma once

#include <opencv2/core/types.hpp>

namespace inferpool::vision {

// Rounds half to even, as Python's round does.
int RoundHalfToEven(double value);

// The part of an input of size `input` that the whole `picture` fills; all sides are at least 1.
// As Ultralytics' LetterBox (ultralytics/data/augment.py): r = min(W / w, H / h); the part is
// round(w r) x round(h r), at least 1 x 1; left = round((W - width) / 2 - 0.1), top likewise.
// Smaller pictures are enlarged as well.
cv::Rect LetterboxContent(cv::Size picture, cv::Size input);

}  // namespace inferpool::vision
