"""ICU and standard beds, three diseases, of which only occupancies show (arXiv 2506.09272)."""

DISEASES, NO_BED, NO_DISEASE = 3, 2, 3

PARAMS = {
    "illness": {
        "base": LogUniform(
            1e-4, 0.1, shape=(3,), guess=0.003, unit="1", doc="daily probability of dying"
        ),
        "factor": LogUniform(
            1e-5, 0.05, shape=(3,), guess=0.0005, unit="1/day", doc="its growth per day in hospital"
        ),
    },
    "arrivals": {
        "rate": Uniform(
            0.0, 6.0, shape=(3,), guess=2.0, unit="patients/day", doc="mean arrivals per disease"
        ),
        "stay": Uniform(
            1.0, 12.0, shape=(3,), guess=5.0, unit="days", doc="mean stay before cutting to days"
        ),
    },
    "admission": {
        "icu": Integer(1, 10, guess=6, unit="beds", doc="ICU beds"),
        "standard": Integer(10, 30, guess=18, unit="beds", doc="standard beds"),
    },
}
LATENT = {
    "bed": State("category", shape=(40,), min=0, max=2),
    "disease": State("category", shape=(40,), min=0, max=3),
    "remaining": State("count", shape=(40,), min=0),
    "day": State("count", shape=(40,), min=0),
}
TRUTH = {
    "illness.base[0]": 0.01,
    "illness.base[1]": 0.005,
    "illness.base[2]": 0.008,
    "illness.factor[0]": 0.002,
    "illness.factor[1]": 0.001,
    "illness.factor[2]": 0.0015,
    "arrivals.rate[0]": 1.0,
    "arrivals.rate[1]": 2.0,
    "arrivals.rate[2]": 1.5,
    "arrivals.stay[0]": 5.0,
    "arrivals.stay[1]": 6.0,
    "arrivals.stay[2]": 4.0,
    "admission.icu": 5,
    "admission.standard": 20,
}


def by_disease(values, disease):
    # A look-up among three: selections vectorise over lanes, a gather does not.
    found = values[0]
    for d in range(1, DISEASES):
        found = jnp.where(disease == d, values[d], found)
    return found


def count(kind, where):
    # Three counts of at most 40 in one sum, eight bits each: sums over slots are what costs here.
    packed = jnp.sum(jnp.where(where, 1 << (8 * kind), 0))
    return packed & 255, (packed >> 8) & 255, packed >> 16


def initial(observed, seen, params, key):
    # The hospital is empty when a trajectory begins.
    return {
        "icu": observed["icu"],
        "standard": observed["standard"],
        "bed": jnp.full(40, NO_BED),
        "disease": jnp.full(40, NO_DISEASE),
        "remaining": jnp.zeros(40, jnp.int32),
        "day": jnp.zeros(40, jnp.int32),
    }


def illness(state, inputs, params, key):
    base = by_disease(params["base"], state["disease"])
    factor = by_disease(params["factor"], state["disease"])
    risk = jnp.clip(base + factor * state["day"], 0.0, 1.0)
    died = (state["bed"] != NO_BED) & (bernoulli(key, risk) == 1)
    return {
        "died": died,
        "discharged": (state["bed"] != NO_BED) & ~died & (state["remaining"] <= 1),
    }


def arrivals(state, inputs, params, key):
    zero, one, two, long = split(key, 4)
    rate = params["rate"]
    # One draw per slot serves whichever disease the slot is given: stays differ by their mean only.
    stays = params["stay"][:, None] + normal(long, shape=(1, 40))
    return {
        "arrived_0": poisson(zero, rate[0]),
        "arrived_1": poisson(one, rate[1]),
        "arrived_2": poisson(two, rate[2]),
        "stays": jnp.maximum(stays.astype(jnp.int32), 1),
    }


def admission(state, inputs, params, key):
    # All patients of a disease want the same, so counting replaces the queue: nobody is cut off.
    # Numbers stay scalars: stacked into one array, each would be computed anew for every entry.
    given = inputs["outputs"]
    icu, standard, _ = count(state["bed"], ~(given["died"] | given["discharged"]))
    icu, standard = (
        jnp.maximum(params["icu"] - icu, 0),
        jnp.maximum(params["standard"] - standard, 0),
    )
    icu_0 = jnp.minimum(given["arrived_0"], icu)
    standard_0 = jnp.minimum(given["arrived_0"] - icu_0, standard)
    icu, standard = icu - icu_0, standard - standard_0
    icu_1 = jnp.minimum(given["arrived_1"], icu)
    standard_1 = jnp.minimum(given["arrived_1"] - icu_1, standard)
    icu, standard = icu - icu_1, standard - standard_1
    standard_2 = jnp.minimum(given["arrived_2"], standard)
    icu_2 = jnp.minimum(given["arrived_2"] - standard_2, icu)
    return {
        "icu_0": icu_0,
        "standard_0": standard_0,
        "icu_1": icu_1,
        "standard_1": standard_1,
        "icu_2": icu_2,
        "standard_2": standard_2,
    }


def couple(state, inputs, outputs, params, key):
    died, discharged = outputs["died"], outputs["discharged"]
    stays = (state["bed"] != NO_BED) & ~died & ~discharged
    # The r-th free slot takes the r-th of those admitted, who stand in six groups, one after the
    # other: even ones in the ICU. Slots outnumber beds, so there is one for everybody.
    rank = free_rank(~stays)
    group, upto = jnp.zeros_like(rank), 0
    for name in ("icu_0", "standard_0", "icu_1", "standard_1", "icu_2", "standard_2"):
        upto = upto + outputs[name]
        group = group + (rank >= upto)
    new = ~stays & (group < 2 * DISEASES)
    disease = jnp.where(new, group // 2, jnp.where(stays, state["disease"], NO_DISEASE))
    long = by_disease(outputs["stays"], disease)
    bed = jnp.where(new, group % 2, jnp.where(stays, state["bed"], NO_BED))
    icu, standard, _ = count(bed, bed != NO_BED)
    return {
        "icu": icu,
        "standard": standard,
        "bed": bed,
        "disease": disease,
        "remaining": jnp.where(new, long, jnp.where(stays, state["remaining"] - 1, 0)),
        "day": jnp.where(new, 1, jnp.where(stays, state["day"] + 1, 0)),
    }


SUBMODULES = (illness, arrivals, admission)
