{# What the loop over pairs ends with: the tally grows by the means over them. #}
    of_lane[lane] = mine;
    workgroupBarrier();
    if (lane < MEASURES) {
        tally[lane] += vec2<f32>(total(lane) / f32(batch.count), 1.0);
    }
