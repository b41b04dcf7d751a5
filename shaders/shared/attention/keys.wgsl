// Where the keys and the values that `head` attends to lie: the columns of its group's key/value head, in vec4.
let width = params.head_dim / 4u;
let kv_head = head / (params.q_heads / params.kv_heads);
let step = params.kv_stride / 4u;
let keys = params.k_offset / 4u + kv_head * width;
let values = params.v_offset / 4u + kv_head * width;
