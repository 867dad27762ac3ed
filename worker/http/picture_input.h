// Finds the pictures in a request's body, which may be a form, the picture itself, or JSON with
// base64.
//
// A form is never read in part: each of its fields is a picture, or one of `PictureInputs::fields`,
// or makes the request a problem. Left out are `_charset_` (RFC 7578, section 4.6) and file inputs
// in which nothing was chosen. Pictures may be named as lists are in PHP: images[], images[0].
//
// Pictures are never fetched from addresses: a client that makes a server fetch any URL reaches
// what only that server may reach (server-side request forgery, CWE-918).
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fcgi/wire/request.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"

namespace inferpool::http {

// What the client sent as a picture, at least one byte of anything; or what is wrong with it.
using PictureInput = std::variant<std::string_view, Problem>;

struct PictureInputs {
  std::vector<PictureInput> pictures;
  std::vector<FormField> fields;  // of a form, what is no picture
  // Owns what came encoded. The other views in `pictures` and `fields` point into the body.
  std::deque<std::string> decoded;
};

// The only picture of a request, which is not put into `inputs.pictures`. The view is valid for as
// long as the request and `inputs` live.
// Problems: the body's (BodyProblem), and 400, 413 and 415 when it does not have one of the forms.
PictureInput ReadPicture(const fcgi::Request& request, PictureInputs& inputs);

// The pictures of a batch, 1 to `max_images`, in the request's order. A problem with one picture
// stands in its place.
std::variant<PictureInputs, Problem> ReadPictures(const fcgi::Request& request, int max_images);

}  // namespace inferpool::http
