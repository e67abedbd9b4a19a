// The elements of a dense tensor that belong to a segment (the whole tensor, an index of an axis, a block of an axis). This is the
// inverse of convert/parameter_index.wgsl. Written by kernels/calibrate/members.rs.
//
//     element of member m = base(segment) + (m / run) · outer + (m % run) · inner
//     base(segment)       = (segment / (extent · within)) · a + (segment / within % extent) · b + (segment % within) · c
//
// member_counts = (members, members of the last block, run, -), member_strides = (outer, inner, -, -),
// segment_counts = (extent, within, -, -), segment_strides = (a, b, c, -). CONTIGUOUS: the members follow each other. A segment has
// `chunks` chunks of `chunk` members.
//# constants CONTIGUOUS

// Parameters of the loops over chunks of segments.
struct Params {
    member_counts: vec4<u32>,
    member_strides: vec4<u32>,
    segment_counts: vec4<u32>,
    segment_strides: vec4<u32>,
    chunk: u32,                  // members of a chunk
    chunks: u32,                 // chunks of a segment
    partials: u32,               // segments · chunks
    width: u32,                  // of a bin at level 0, f32 bits
    low: i32,                    // least and greatest code
    high: i32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn segment_along(segment: u32) -> u32 {
    return (segment / params.segment_counts.y) % params.segment_counts.x;
}

fn member_base(segment: u32) -> u32 {
    let within = params.segment_counts.y;
    return segment / (params.segment_counts.x * within) * params.segment_strides.x
        + segment_along(segment) * params.segment_strides.y + segment % within * params.segment_strides.z;
}

fn member_count(segment: u32) -> u32 {
    let last = segment_along(segment) + 1u == params.segment_counts.x;
    return select(params.member_counts.x, params.member_counts.y, last);
}

fn member_offset(member: u32) -> u32 {
    if (CONTIGUOUS) {
        return member;
    }
    let run = params.member_counts.z;
    return member / run * params.member_strides.x + member % run * params.member_strides.y;
}

// The members of a chunk, from `begin` to before `end`, and the base of its segment.
struct Chunk {
    segment: u32,
    base: u32,
    begin: u32,
    end: u32,
}

fn chunk_members(index: u32) -> Chunk {
    let segment = index / params.chunks;
    let begin = index % params.chunks * params.chunk;
    return Chunk(segment, member_base(segment), begin, min(begin + params.chunk, member_count(segment)));
}
