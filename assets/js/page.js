// assets/js/page.js
//
// What the page does beside app.js, which appends every message that it gets, and forgets what it could not send. Nothing of
// app.js or phoenix.js is changed or replaced: the modules work on the elements of the page and on the transports below
// phoenix.js. They must run before app.js.

import "./page/storage.js"
import "./page/transports.js"
import "./page/notice.js"
import "./page/messages.js"
import "./page/following.js"
import "./page/older.js"
import "./page/unsent.js"
import "./page/form.js"
